//! No room, no permission, a file in the place of a folder: an error, and what was there stays as it was.

use crate::stage::{Stage, train_line};

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_leaves_what_was_there() {
    let stage = Stage::with_mails();
    // What is printed has nowhere to go.
    let done = shell(&stage, "exec \"$0\" list metrics > /dev/full");
    crate::stage::refusal(done, "list", &["No space left"]);

    // Files may not grow beyond 16 KiB, which is what a full disk looks like to a program: the limit ends writing
    // with an error where the signal is ignored.
    stage.train("runs/good", "");
    let before = std::fs::read(stage.path("runs/good/best/model.safetensors")).unwrap();
    let limit = "trap '' XFSZ; ulimit -f 32 2>/dev/null || exit 77; exec \"$0\" ";
    let done = shell(&stage, &format!("{limit} {}", train_line("runs/full", "")));
    if done.code == Some(77) {
        println!("not run: this shell cannot limit the size of files");
        return;
    }
    crate::stage::refusal(done, "train", &["runs/full", "too large"]);
    let best = stage.path("runs/full/best");
    assert!(!best.exists() || std::fs::read_dir(&best).unwrap().count() == 0, "no half model is left");

    // A file that is being replaced stays as it was.
    stage.program.file("t.txt", "win a prize now\n".repeat(400)).unwrap();
    stage.ok("embed bert --file t.txt --out v.npy");
    let vectors = std::fs::read(stage.path("v.npy")).unwrap();
    let done = shell(&stage, &format!("{limit} embed bert --file t.txt --out v.npy"));
    crate::stage::refusal(done, "embed", &["v.npy"]);
    assert_eq!(std::fs::read(stage.path("v.npy")).unwrap(), vectors);
    assert_eq!(std::fs::read(stage.path("runs/good/best/model.safetensors")).unwrap(), before);
}

/// Runs a line of shell whose `$0` is the program.
#[cfg(target_os = "linux")]
fn shell(stage: &Stage, line: &str) -> topwork_testkit::Finished {
    use std::process::Command;
    let begun = std::time::Instant::now();
    let output = Command::new("/bin/sh")
        .args(["-c", line, env!("CARGO_BIN_EXE_topwork")])
        .current_dir(stage.program.folder())
        .env("TOPWORK_CACHE", stage.path("cache"))
        .output()
        .unwrap();
    topwork_testkit::Finished {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: output.stderr,
        time: begun.elapsed(),
    }
}

#[test]
fn a_file_in_the_place_of_a_folder_is_named() {
    let stage = Stage::with_mails();
    stage.program.file("runs", "I am a file").unwrap();
    stage.refused(&train_line("runs/a", ""), &["runs"]);
    stage.refused("embed bert win --out runs/v.npy", &["runs/v.npy"]);
    stage.refused("predict bert win --out runs/v.csv", &["runs/v.csv"]);
    assert_eq!(std::fs::read(stage.path("runs")).unwrap(), b"I am a file");
}

#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::with_mails();
    let folder = stage.path("locked");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(folder.join("probe"), "x").is_ok() {
        // The superuser may write everywhere, but for what is not there to be written.
        println!("permissions bind nobody here (superuser): /proc is taken for a read-only folder");
        if !std::path::Path::new("/proc/self").exists() {
            println!("not run: there is no /proc");
            return;
        }
        stage.refused(&train_line("/proc/topwork-run", ""), &["/proc/topwork-run"]);
        stage.refused("embed bert win --out /proc/v.npy", &["/proc/v.npy"]);
        return;
    }
    stage.refused(&train_line("locked/run", ""), &["locked/run", "ermission denied"]);
    stage.refused("embed bert win --out locked/v.npy", &["locked/v.npy", "ermission denied"]);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}
