//! What can go wrong with weight files: where, what was expected, what was found, and the way out.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be opened, read or listed.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file or folder could not be written; what stood there before is as it was.
    #[error("cannot write {}: {}; {kept}", path.display(), write_reason(source))]
    Write {
        /// The file or folder that was to be written.
        path: PathBuf,
        /// What became of the file that stood there before.
        kept: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is of no format that is known.
    #[error("{} is in no format that can be read here ({known})", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The formats that can be read.
        known: String,
    },
    /// The whole file is not what its format asks for.
    #[error("{} is no sound {format} file: {reason}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// The format's name.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A file wants something called that is no part of reading weights.
    #[error("{} asks to call {name}: refused, nothing was executed; if you trust the file, load it where it was made and save its state_dict() alone", path.display())]
    Code {
        /// The file.
        path: PathBuf,
        /// What it wants called.
        name: String,
    },
    /// One line of a text file is not what its format asks for.
    #[error("{}, line {line}: {reason}", path.display())]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// One tensor's entry contradicts itself or the file.
    #[error("{}: tensor \"{tensor}\": {reason}", path.display())]
    BadTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor holds numbers of a kind that cannot be a weight here.
    #[error("{}: tensor \"{tensor}\" holds {got}, expected one of F32, F16, BF16, F64", path.display())]
    WrongDtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its number format as the file spells it.
        got: String,
    },
    /// The file has no tensor of that name.
    #[error("{} has no tensor \"{tensor}\"", path.display())]
    NoTensor {
        /// The file.
        path: PathBuf,
        /// The tensor asked for.
        tensor: String,
    },
    /// A weight is not a finite number.
    #[error("{}: tensor \"{tensor}\" holds {value} at element {index}: the file is damaged or the model diverged", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The first such element, counted from 0.
        index: usize,
        /// The value there.
        value: f32,
    },
    /// A folder holds no weights that can be read.
    #[error("no weights in {}: no model.safetensors and no single file of another format; found: {found}", path.display())]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// The files that are there.
        found: String,
    },
    /// A checkpoint of several files lacks one.
    #[error(
        "{}: {} is not there, one of {count} files that make up the model: fetch all of them into one folder", path.display(), part.display()
    )]
    MissingPart {
        /// The file that was opened.
        path: PathBuf,
        /// The file that is not there.
        part: PathBuf,
        /// How many there are to be.
        count: usize,
    },
    /// The index of a sharded checkpoint contradicts itself or its shards.
    #[error("{}: {reason}", path.display())]
    BadIndex {
        /// The index file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No rule of the table covers a tensor.
    #[error("no rule covers the tensor \"{name}\"; the nearest are {}", nearest.join(", "))]
    Unmapped {
        /// The tensor's name in the checkpoint.
        name: String,
        /// The most similar names the table has.
        nearest: Vec<String>,
    },
    /// A rule covers a tensor, but the model has no such parameter.
    #[error(
        "the tensor \"{name}\" belongs to \"{path}\", which this model does not have: does config.json fit the weights?"
    )]
    Unwanted {
        /// The tensor's name in the checkpoint.
        name: String,
        /// Where its rule would put it.
        path: String,
    },
    /// The checkpoint does not fill every parameter.
    #[error("{} parameters are not in {} and not declared fresh: {}", paths.len(), source_path.display(), crate::report::some_of(paths))]
    Unfilled {
        /// The checkpoint.
        source_path: PathBuf,
        /// The parameters, each with the tensor that was looked for.
        paths: Vec<String>,
    },
    /// A tensor and its parameter have different shapes.
    #[error("the tensor \"{name}\" has shape {got:?}, \"{path}\" needs {expected:?}")]
    WrongShape {
        /// The tensor's name in the checkpoint.
        name: String,
        /// The parameter.
        path: String,
        /// The parameter's shape.
        expected: Vec<usize>,
        /// The tensor's shape, after its rule's operation.
        got: Vec<usize>,
    },
    /// Two tensors claim the same parameter.
    #[error("both \"{first}\" and \"{second}\" belong to \"{path}\"")]
    Duplicate {
        /// The parameter.
        path: String,
        /// The first tensor.
        first: String,
        /// The second tensor.
        second: String,
    },
    /// A tensor that must repeat a parameter differs from it.
    #[error(
        "the tensor \"{name}\" must equal \"{path}\" (they are tied) but differs from it: untied weights are not supported for this family"
    )]
    NotTied {
        /// The tensor's name in the checkpoint.
        name: String,
        /// The parameter it is tied to.
        path: String,
    },
    /// A parameter has no name in the checkpoint format.
    #[error("no rule names the parameter \"{path}\" in the checkpoint format; the nearest are {}", nearest.join(", "))]
    NoName {
        /// The parameter.
        path: String,
        /// The most similar paths the table has.
        nearest: Vec<String>,
    },
    /// An operation of a rule does not fit the tensor's shape.
    #[error("cannot {op} \"{name}\" of shape {shape:?}: expected two axes")]
    BadOperation {
        /// The operation.
        op: &'static str,
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A tensor to be written has more or fewer numbers than its shape says.
    #[error("tensor \"{name}\" of shape {shape:?} came with {got} numbers")]
    WrongLength {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// How many numbers came.
        got: usize,
    },
    /// A table contradicts itself.
    #[error("weight table: {0}")]
    BadTable(String),
    /// A model cannot be written as a GGUF file.
    #[error("no GGUF file can hold this model: {reason}")]
    NoGguf {
        /// What stands against it.
        reason: String,
    },
    /// A model cannot be written under TensorFlow's names.
    #[error("no {form} can hold this model: {reason}; write it as safetensors")]
    NoTensorflow {
        /// What was to be written.
        form: &'static str,
        /// What stands against it.
        reason: String,
    },
    /// A model cannot be written as an ONNX file.
    #[error("no ONNX file can hold this model: {reason}; write it as safetensors")]
    NoOnnx {
        /// What stands against it.
        reason: String,
    },
    /// A folder that is to be replaced holds something that was not written as part of a model.
    #[error("{} holds \"{entry}\", which is no part of a model folder, so the folder is not replaced: choose another folder or move it away", path.display())]
    ForeignEntry {
        /// The folder.
        path: PathBuf,
        /// The entry.
        entry: String,
    },
    /// A file name given for a model folder is not a plain file name.
    #[error("\"{0}\" is no plain file name")]
    BadFileName(String),
}

/// The reason in words for the failures a user can do something about.
fn write_reason(source: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match source.kind() {
        ErrorKind::StorageFull => "the disk is full".to_string(),
        ErrorKind::QuotaExceeded => "the disk quota is used up".to_string(),
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only".to_string(),
        ErrorKind::PermissionDenied => "no permission to write in that folder".to_string(),
        ErrorKind::NotFound => "the folder does not exist".to_string(),
        _ => source.to_string(),
    }
}
