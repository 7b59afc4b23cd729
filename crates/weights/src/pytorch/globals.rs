//! The names a pickle may ask for, and what each stands for here. Every other name is refused.
//!
//! In Python a pickle may call whatever it can name. Here nothing is called at all: a name on this list either has a
//! part in making tensors ([`Role`]), or gives a value that is looked at only to see that it hides no tensor.

use ::safetensors::Dtype;

/// What a name on the list stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// `_rebuild_tensor(storage, offset, size, stride, ...)`, with or without more arguments.
    Tensor,
    /// `_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, ...)`.
    TensorOfDtype,
    /// A function whose first argument is the tensor it gives.
    Wrapped,
    /// `_rebuild_from_type_v2(function, type, arguments, state)`: what the function gives.
    FromType,
    /// A kind of dictionary, from nothing, a dictionary or a list of pairs.
    Mapping,
    /// A kind of sequence, from a sequence.
    Sequence,
    /// A class of storages of one number format.
    Storage(Dtype),
    /// A number format.
    Numbers(Dtype),
    /// `_codecs.encode(text, 'latin1')`: bytes, as the older protocols spell them.
    Bytes,
    /// Anything else without a tensor: settings, paths, the state of an optimizer's random numbers.
    Inert,
}

use Role::*;

/// The list: module, names, what they stand for.
const KNOWN: &[(&str, &[&str], Role)] = &[
    ("torch._utils", &["_rebuild_tensor", "_rebuild_tensor_v2"], Tensor),
    ("torch._utils", &["_rebuild_tensor_v3"], TensorOfDtype),
    ("torch._utils", &["_rebuild_parameter", "_rebuild_parameter_with_state"], Wrapped),
    ("torch._tensor", &["_rebuild_from_type_v2"], FromType),
    ("torch", &["Size"], Sequence),
    ("torch", &["Tensor", "device"], Inert),
    ("torch.nn.parameter", &["Parameter"], Inert),
    ("torch.serialization", &["_get_layout"], Inert),
    ("torch", &["FloatStorage"], Storage(Dtype::F32)),
    ("torch", &["HalfStorage"], Storage(Dtype::F16)),
    ("torch", &["BFloat16Storage"], Storage(Dtype::BF16)),
    ("torch", &["DoubleStorage"], Storage(Dtype::F64)),
    ("torch", &["LongStorage"], Storage(Dtype::I64)),
    ("torch", &["IntStorage"], Storage(Dtype::I32)),
    ("torch", &["ShortStorage"], Storage(Dtype::I16)),
    ("torch", &["CharStorage"], Storage(Dtype::I8)),
    ("torch", &["ByteStorage"], Storage(Dtype::U8)),
    ("torch", &["BoolStorage"], Storage(Dtype::BOOL)),
    ("torch", &["ComplexFloatStorage"], Storage(Dtype::C64)),
    ("torch", &["UntypedStorage"], Storage(Dtype::U8)),
    ("torch.storage", &["UntypedStorage"], Storage(Dtype::U8)),
    ("torch", &["float32", "float"], Numbers(Dtype::F32)),
    ("torch", &["float16", "half"], Numbers(Dtype::F16)),
    ("torch", &["bfloat16"], Numbers(Dtype::BF16)),
    ("torch", &["float64", "double"], Numbers(Dtype::F64)),
    ("torch", &["int64", "long"], Numbers(Dtype::I64)),
    ("torch", &["int32", "int"], Numbers(Dtype::I32)),
    ("torch", &["int16", "short"], Numbers(Dtype::I16)),
    ("torch", &["int8"], Numbers(Dtype::I8)),
    ("torch", &["uint8"], Numbers(Dtype::U8)),
    ("torch", &["uint16"], Numbers(Dtype::U16)),
    ("torch", &["uint32"], Numbers(Dtype::U32)),
    ("torch", &["uint64"], Numbers(Dtype::U64)),
    ("torch", &["bool"], Numbers(Dtype::BOOL)),
    ("torch", &["float8_e4m3fn"], Numbers(Dtype::F8_E4M3)),
    ("torch", &["float8_e5m2"], Numbers(Dtype::F8_E5M2)),
    ("torch", &["complex64"], Numbers(Dtype::C64)),
    ("collections", &["OrderedDict", "defaultdict", "Counter"], Mapping),
    ("collections", &["deque"], Sequence),
    ("builtins", &["dict"], Mapping),
    ("builtins", &["list", "tuple", "set", "frozenset"], Sequence),
    ("builtins", &["object", "int", "float", "bool", "str", "bytes", "bytearray", "complex"], Inert),
    ("builtins", &["slice", "range"], Inert),
    ("copyreg", &["_reconstructor"], Inert),
    ("_codecs", &["encode"], Bytes),
    ("argparse", &["Namespace"], Inert),
    ("types", &["SimpleNamespace"], Inert),
    ("typing", &["Any"], Inert),
    ("pathlib", &["Path", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"], Inert),
    ("datetime", &["datetime", "date", "time", "timedelta"], Inert),
    ("numpy", &["ndarray", "dtype"], Inert),
    ("numpy.core.multiarray", &["_reconstruct", "scalar"], Inert),
    ("numpy._core.multiarray", &["_reconstruct", "scalar"], Inert),
    ("flair.data", &["Dictionary"], Inert),
    ("omegaconf.dictconfig", &["DictConfig"], Inert),
    ("omegaconf.listconfig", &["ListConfig"], Inert),
    ("omegaconf.base", &["ContainerMetadata", "Metadata"], Inert),
    ("omegaconf.nodes", &["AnyNode"], Inert),
    ("pytorch_lightning.utilities.parsing", &["AttributeDict"], Inert),
    ("lightning_fabric.utilities.data", &["AttributeDict"], Inert),
    ("lightning.fabric.utilities.data", &["AttributeDict"], Inert),
    ("pytorch_lightning.callbacks.model_checkpoint", &["ModelCheckpoint"], Inert),
];

/// What a name stands for, or `None` when it is not on the list.
pub(super) fn role(module: &str, name: &str) -> Option<Role> {
    // What Python 2 called otherwise, and storages that lay on a GPU.
    let module = match module {
        "__builtin__" => "builtins",
        "copy_reg" => "copyreg",
        "torch.cuda" if name.ends_with("Storage") => "torch",
        other => other,
    };
    KNOWN.iter().find(|(of, names, _)| *of == module && names.contains(&name)).map(|(_, _, role)| *role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_run_something_are_not_on_the_list() {
        for (module, name) in [
            ("os", "system"),
            ("posix", "system"),
            ("builtins", "eval"),
            ("builtins", "exec"),
            ("builtins", "getattr"),
            ("builtins", "__import__"),
            ("__builtin__", "eval"),
            ("subprocess", "Popen"),
            ("torch.storage", "_load_from_bytes"),
            ("torch", "load"),
            ("torch.cuda", "load"),
            ("torch.hub", "load"),
            ("numpy", "load"),
            ("types", "FunctionType"),
            ("functools", "partial"),
        ] {
            assert_eq!(role(module, name), None, "{module}.{name}");
        }
    }

    #[test]
    fn every_name_is_on_the_list_once() {
        let names: Vec<_> = KNOWN
            .iter()
            .flat_map(|(module, names, _)| names.iter().map(move |name| (module, name)))
            .collect();
        assert!(names.len() > 80, "{}", names.len());
        for (n, name) in names.iter().enumerate() {
            assert!(!names[..n].contains(name), "{name:?}");
        }
        assert_eq!(role("torch.cuda", "HalfStorage"), Some(Storage(Dtype::F16)));
        assert_eq!(role("__builtin__", "set"), Some(Sequence));
    }
}
