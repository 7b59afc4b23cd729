//! How fetching tells its caller what it does. Libraries print nothing; the program draws bars.

/// Receives the progress of a fetch. Every method has an empty default body.
pub trait Progress: Send + Sync {
    /// A new piece of work starts.
    ///
    /// - `what`: one line for a person, such as `model.safetensors`
    /// - `bytes`: its size, when the source tells it
    fn start(&self, what: &str, bytes: Option<u64>) {
        let _ = (what, bytes);
    }

    /// `bytes` of the current piece are done, counted from its start.
    fn advance(&self, bytes: u64) {
        let _ = bytes;
    }

    /// The current piece is done.
    fn finish(&self) {}

    /// Something worth a line: waiting for another process, a damaged entry that is fetched again.
    fn note(&self, text: &str) {
        let _ = text;
    }
}

/// A [`Progress`] that says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
