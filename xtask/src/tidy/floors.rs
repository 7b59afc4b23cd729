//! The house: a crate uses only crates of lower floors, and what is heavy or dangerous stays in its room.
//!
//! Each crate states its floor in its manifest (`[package.metadata] floor = 2`), or that it is a tool
//! (`tool = true`): tools use no crate of the house and only tests use them.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Report;
use super::tree::Tree;

/// Third-party crates that only some of ours may name, and why.
const FENCES: &[(&str, &[&str], &str)] = &[
    (
        "burn",
        &["ops", "nn", "models", "adapt", "train", "compress", "inspect", "topwork"],
        "everything else works on slices and bytes",
    ),
    ("tokenizers", &["text"], "tokenizer files are read in one place"),
    ("image", &["text"], "pictures are decoded in one place"),
    ("anyhow", &["cli", "xtask"], "a library has an error type of its own"),
];

/// A manifest, read.
struct Crate {
    manifest: String,
    /// The name of its folder.
    folder: String,
    name: String,
    floor: Option<i64>,
    tool: bool,
    /// Whether it takes the lints of the workspace.
    lints: bool,
    dependencies: Vec<Dependency>,
}

/// A dependency of a crate.
struct Dependency {
    /// The name of the package.
    name: String,
    dev: bool,
    /// Whether it is found by path: then it is one of ours.
    path: bool,
}

pub fn check(tree: &Tree) -> Report {
    let mut report = Report::default();
    let shared = match tree.get("Cargo.toml").map(|file| file.text().parse::<Table>()) {
        Some(Ok(root)) => table(&root, &["workspace", "dependencies"]),
        Some(Err(error)) => {
            report.errors.push(format!("Cargo.toml: {error}"));
            return report;
        }
        None => Table::new(),
    };
    let mut crates = Vec::new();
    for file in &tree.files {
        let Some(folder) = file.path.strip_suffix("/Cargo.toml") else { continue };
        report.seen += 1;
        match file.text().parse::<Table>() {
            Ok(manifest) => crates.push(read(&file.path, folder, &manifest, &shared)),
            Err(error) => report.errors.push(format!("{}: {error}", file.path)),
        }
    }
    let by_name: BTreeMap<&str, &Crate> = crates.iter().map(|each| (each.name.as_str(), each)).collect();
    for each in &crates {
        let found = itself(each).into_iter().chain(each.dependencies.iter().filter_map(|dependency| {
            fenced(each, dependency).or_else(|| match by_name.get(dependency.name.as_str()) {
                Some(used) => uses(each, used, dependency),
                None if dependency.path => {
                    Some(format!("{} is a path outside of the workspace", dependency.name))
                }
                None => None,
            })
        }));
        report.errors.extend(found.map(|what| format!("{}: {what}", each.manifest)));
    }
    report
}

fn read(path: &str, folder: &str, manifest: &Table, shared: &Table) -> Crate {
    let metadata = table(manifest, &["package", "metadata"]);
    let mut dependencies = Vec::new();
    let platforms = table(manifest, &["target"]);
    for part in platforms.values().filter_map(Value::as_table).chain([manifest]) {
        for (kind, dev) in
            [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
        {
            for (key, entry) in table(part, &[kind]) {
                let inherited = entry.get("workspace").and_then(Value::as_bool) == Some(true);
                let entry = if inherited { shared.get(&key).unwrap_or(&entry) } else { &entry };
                let name = entry.get("package").and_then(Value::as_str).unwrap_or(&key).to_string();
                dependencies.push(Dependency { name, dev, path: entry.get("path").is_some() });
            }
        }
    }
    let name =
        table(manifest, &["package"]).get("name").and_then(Value::as_str).unwrap_or_default().to_string();
    Crate {
        manifest: path.to_string(),
        folder: folder.rsplit('/').next().unwrap_or_default().to_string(),
        name,
        floor: metadata.get("floor").and_then(Value::as_integer),
        tool: metadata.get("tool").and_then(Value::as_bool) == Some(true),
        lints: table(manifest, &["lints"]).get("workspace").and_then(Value::as_bool) == Some(true),
        dependencies,
    }
}

/// The table at a path of keys; empty when there is none.
fn table(manifest: &Table, keys: &[&str]) -> Table {
    let mut here = manifest;
    for key in keys {
        match here.get(*key).and_then(Value::as_table) {
            Some(next) => here = next,
            None => return Table::new(),
        }
    }
    here.clone()
}

/// What a manifest says wrongly about its own crate.
fn itself(each: &Crate) -> Vec<String> {
    let mut found = Vec::new();
    if each.floor.is_none() && !each.tool {
        found.push("no floor: state it as [package.metadata] floor = N (see ARCHITECTURE.md)".into());
    }
    let named = [each.folder.clone(), format!("topwork-{}", each.folder)].contains(&each.name);
    let plain = each.name == each.folder && !matches!(each.folder.as_str(), "topwork" | "xtask");
    if !named || plain {
        found.push(format!(
            "folder {} holds the package topwork-{}, not {}",
            each.folder, each.folder, each.name
        ));
    }
    if !each.lints {
        found.push("takes no lints of the workspace: [lints] workspace = true".into());
    }
    found
}

/// What is wrong about a third-party dependency.
fn fenced(each: &Crate, dependency: &Dependency) -> Option<String> {
    let (name, allowed, why) = FENCES.iter().find(|(name, ..)| *name == dependency.name)?;
    if dependency.dev || allowed.contains(&each.folder.as_str()) {
        return None;
    }
    Some(format!("may not use {name} (only {} may): {why}", allowed.join(", ")))
}

/// What is wrong about one crate of ours using another.
fn uses(each: &Crate, used: &Crate, dependency: &Dependency) -> Option<String> {
    if !dependency.path {
        return Some(format!("{} is one of ours: use it by path", used.name));
    }
    match (each.floor, used.floor) {
        _ if used.tool && (dependency.dev || each.tool) => None,
        _ if used.tool => Some(format!("{} is a tool: only tests may use it", used.name)),
        _ if each.tool => Some(format!("is a tool and may not use {}", used.name)),
        (Some(own), Some(floor)) if floor < own => None,
        (Some(own), Some(floor)) => {
            Some(format!("stands on floor {own} and may not use {} of floor {floor}", used.name))
        }
        // Reported where the crate itself is looked at.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace.dependencies]
topwork-kernels = { path = \"crates/kernels\" }
topwork-ops = { path = \"crates/ops\" }
topwork-testkit = { path = \"crates/testkit\" }
burn = \"1\"
";

    fn manifest(name: &str, metadata: &str, rest: &str) -> String {
        format!(
            "[package]\nname = \"{name}\"\n[package.metadata]\n{metadata}\n[lints]\nworkspace = true\n{rest}"
        )
    }

    /// The errors for a house in which `ops` has the manifest given.
    fn errors(ops: &str) -> Vec<String> {
        let kernels = manifest("topwork-kernels", "floor = 0", "");
        let text = manifest("topwork-text", "floor = 1", "");
        let testkit = manifest("topwork-testkit", "floor = 0\ntool = true", "");
        let report = check(&Tree::of(&[
            ("Cargo.toml", ROOT),
            ("crates/kernels/Cargo.toml", &kernels),
            ("crates/text/Cargo.toml", &text),
            ("crates/testkit/Cargo.toml", &testkit),
            ("crates/ops/Cargo.toml", ops),
        ]));
        assert_eq!(report.seen, 4);
        report.errors
    }

    fn ops(rest: &str) -> String {
        manifest("topwork-ops", "floor = 1", rest)
    }

    fn one_error(ops: &str, part: &str) {
        let errors = errors(ops);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with("crates/ops/Cargo.toml: ") && errors[0].contains(part), "{errors:?}");
    }

    #[test]
    fn lower_floors_and_tools_in_tests_pass() {
        let rest = "[dependencies]\ntopwork-kernels.workspace = true\nburn.workspace = true\nrayon = \"1\"
[dev-dependencies]\ntopwork-testkit.workspace = true";
        assert_eq!(errors(&ops(rest)), [""; 0]);
    }

    #[test]
    fn the_same_floor_fails_in_every_form() {
        for rest in [
            "[dependencies]\ntopwork-text = { path = \"../text\" }",
            "[build-dependencies]\ntopwork-text = { path = \"../text\" }",
            "[dev-dependencies]\ntopwork-text = { path = \"../text\" }",
            "[target.'cfg(unix)'.dependencies]\ntopwork-text = { path = \"../text\" }",
            "[dependencies]\ntext = { package = \"topwork-text\", path = \"../text\" }",
        ] {
            one_error(&ops(rest), "may not use topwork-text of floor 1");
        }
    }

    #[test]
    fn tools_stay_in_tests() {
        one_error(&ops("[dependencies]\ntopwork-testkit.workspace = true"), "only tests");
        let tool = manifest("topwork-ops", "tool = true", "[dependencies]\ntopwork-kernels.workspace = true");
        one_error(&tool, "is a tool");
    }

    #[test]
    fn a_manifest_must_say_where_it_stands() {
        one_error(&manifest("topwork-ops", "", ""), "no floor");
        one_error(&manifest("ops", "floor = 1", ""), "holds the package topwork-ops");
        one_error("[package]\nname = \"topwork-ops\"\n[package.metadata]\nfloor = 1", "lints");
        one_error("[package\n", "TOML");
    }

    #[test]
    fn ours_come_by_path_and_fences_hold() {
        one_error(&ops("[dependencies]\ntopwork-kernels = \"0.1\""), "by path");
        one_error(&ops("[dependencies]\nother = { path = \"../../../other\" }"), "outside");
        one_error(&ops("[dependencies]\nanyhow = \"1\""), "may not use anyhow");
        assert_eq!(errors(&ops("[dev-dependencies]\nanyhow = \"1\"")), [""; 0]);
    }
}
