//! Names with options, as they are given: `one-cycle:rise=10,fall=100`.

/// The name, and its options as the inside of a TOML table; a value that is no number is a text.
pub fn named(given: &str) -> (&str, String) {
    let (name, options) = given.split_once(':').unwrap_or((given, ""));
    let option = |part: &str| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let known = value.parse::<bool>().is_ok() || value.parse::<f64>().is_ok_and(f64::is_finite);
        let value = if known { value.to_string() } else { serde_json::Value::from(value).to_string() };
        format!("{} = {value}", key.trim())
    };
    let options: Vec<String> = options.split(',').filter(|part| !part.is_empty()).map(option).collect();
    (name, options.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_toml() {
        let check = |given, name: &str, options: &str| assert_eq!(named(given), (name, options.to_string()));
        check("unfreeze:order=chain-thaw,epochs=2", "unfreeze", "order = \"chain-thaw\", epochs = 2");
        check("lora:by-root=true,alpha=0.1", "lora", "by-root = true, alpha = 0.1");
        check("linear", "linear", "");
        check("l2-sp:alpha", "l2-sp", "alpha = \"\"");
    }
}
