//! The data sets of `../shared/data`, opened by name: as many examples as their entries say.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // in helpers too: a test that cannot go on has failed, a skip is told

use std::path::Path;

use topwork::datasets::{Split, all};
use topwork::hub::{Hub, Settings, Silent};

/// Rows that the copy there lacks of what was published: the training set of MRPC there has 2,473 pairs that mean the same, not
/// 2,474.
const LACKING: &[(&str, Split, usize)] = &[("glue/mrpc", Split::Train, 1)];

#[test]
fn every_set_that_is_there_has_as_many_examples_as_its_entry_says() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !home.exists() {
        println!("skipped: {} is not there", home.display());
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let hubs = [home.clone(), home.join("nltk")].map(|home| {
        Hub::with(Settings {
            cache: cache.path().to_path_buf(),
            offline: true,
            hf_endpoint: "http://127.0.0.1:9".into(),
            hf_token: None,
            certificates: None,
            search_path: "/nowhere".into(),
            data_home: Some(home),
        })
    });
    let (mut sets, mut splits) = (0, 0);
    for set in all() {
        let mut found = false;
        for split in set.splits() {
            let Some(files) = hubs.iter().find_map(|hub| set.files(&[split], hub, &Silent).ok()) else {
                continue;
            };
            let mut options = files.read_options(set).unwrap();
            options.pair_file = files.pairs[split as usize].clone();
            let dataset = topwork_data::read(files.of(split).unwrap(), &options)
                .unwrap_or_else(|error| panic!("{}: {error}", set.name));
            let rows = dataset.len() + dataset.report.rows_skipped();
            println!("{} {}: {} examples, {rows} rows", set.name, split.words(), dataset.len());
            let lacking = LACKING.iter().find(|(name, of, _)| (*name, *of) == (set.name, split));
            let rows = rows + lacking.map_or(0, |(.., rows)| *rows);
            assert_eq!(Some(rows), set.sizes[split as usize], "{} {}", set.name, split.words());
            if !set.classes.is_empty() && matches!(split, Split::Train) {
                let known = |name: &String| set.classes.contains(&name.as_str());
                assert!(dataset.label_counts().iter().all(|(name, _)| known(name)), "{}", set.name);
            }
            (found, splits) = (true, splits + 1);
        }
        sets += usize::from(found);
    }
    println!("{sets} sets with {splits} splits");
    assert!(sets > 20, "{sets}");
}
