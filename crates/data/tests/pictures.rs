//! Data sets of pictures: folders of class folders, tables of paths, and pictures that stand twice.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use std::fs;
use std::path::{Path, PathBuf};

use topwork_data::{GroupCache, NearOptions, ReadOptions, SplitOptions, Task, duplicates, read};

fn picture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pictures").join(name)
}

fn options() -> ReadOptions {
    ReadOptions { task: Task::Class, ..ReadOptions::default() }
}

/// Class folders, in which `one/0.png` stands once more as `two/9.png`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (to, from) in [
        ("one/0.png", "rgb.png"),
        ("one/deep/1.JPG", "photo.jpg"),
        ("two/2.bmp", "rgb.bmp"),
        ("two/9.png", "rgb.png"),
    ] {
        let to = folder.path().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(picture(from), to).unwrap();
    }
    folder
}

#[test]
fn a_folder_of_pictures_has_their_paths_for_texts() {
    let folder = folder();
    let mut dataset = read(folder.path(), &options()).unwrap();
    assert!(dataset.is_of_pictures() && dataset.names_pictures());
    let expected: Vec<String> = ["one/0.png", "one/deep/1.JPG", "two/2.bmp", "two/9.png"]
        .iter()
        .map(|name| folder.path().join(name).display().to_string())
        .collect();
    assert_eq!(dataset.texts().collect::<Vec<_>>(), expected);
    assert_eq!(dataset.label_counts(), [("one".to_string(), 2), ("two".to_string(), 2)]);
    assert_eq!(dataset.place(2), expected[2]);
    // They are where they are already.
    dataset.find_pictures();
    assert_eq!(dataset.texts().collect::<Vec<_>>(), expected);
    assert!(dataset.select(&[1]).is_of_pictures());
    // A text among them is either in the wrong place or a mistake.
    fs::write(folder.path().join("two/notes.md"), "a fine film").unwrap();
    let error = read(folder.path(), &options()).unwrap_err().to_string();
    assert!(error.contains("notes.md") && error.contains("pictures"), "{error}");
}

#[test]
fn paths_in_a_table_begin_in_its_folder() {
    let folder = folder();
    let elsewhere = picture("gray.png").display().to_string();
    let table = folder.path().join("all.csv");
    fs::write(&table, format!("path,label\none/0.png,a\ntwo/2.bmp,b\n{elsewhere},b\n")).unwrap();
    let mut dataset = read(&table, &options()).unwrap();
    assert!(!dataset.is_of_pictures() && dataset.names_pictures());
    dataset.find_pictures();
    let expected = [folder.path().join("one/0.png"), folder.path().join("two/2.bmp"), picture("gray.png")];
    assert_eq!(dataset.texts().map(PathBuf::from).collect::<Vec<_>>(), expected);
    assert!(dataset.report.lines().iter().any(|line| line.contains("begin in")));
    assert_eq!(dataset.place(1), format!("{} row 3", table.display()));
}

#[test]
fn pictures_that_stand_twice_are_found_by_their_content() {
    let folder = folder();
    let dataset = read(folder.path(), &options()).unwrap();
    let found = duplicates(&dataset, Some(&NearOptions::default()));
    assert_eq!(found.groups(), [vec![0, 3], vec![1], vec![2]], "not by their names, which are all alike");
    let content = dataset.content();
    assert_eq!(content[0], content[3]);
    assert_ne!(content[0], content[1]);
    let sets = [("train", &dataset.select(&[0, 1])), ("test", &dataset.select(&[2, 3]))];
    assert!(!GroupCache::default().leaks(&sets, None).is_clean());
    let sets = [("train", &dataset.select(&[0, 1])), ("test", &dataset.select(&[2]))];
    assert!(GroupCache::default().leaks(&sets, Some(&NearOptions::default())).is_clean());
    let options = SplitOptions { train: 0.5, dev: 0.25, test: 0.25, ..SplitOptions::default() };
    for seed in 0..8 {
        let parts = GroupCache::default().split(&dataset, &SplitOptions { seed, ..options }).unwrap();
        let part =
            |at: usize| [&parts.train, &parts.dev, &parts.test].iter().position(|part| part.contains(&at));
        assert_eq!(part(0), part(3), "seed {seed}");
    }
}
