//! A wall around the `tokenizers` crate: on some files that it should refuse, it panics, as they are read or later at a text.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls into the crate; a panic there becomes an error with its message.
pub(crate) fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(format!("the tokenizer is not sound, the tokenizers crate stops at it: {text}").into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let nothing: Vec<u32> = Vec::new();
        let error = guarded(|| Ok(nothing[std::hint::black_box(3)])).unwrap_err().to_string();
        assert!(error.contains("not sound") && error.contains("index is 3"), "{error}");
        assert_eq!(guarded(|| Ok(5)).unwrap(), 5);
    }
}
