//! Measures encoding of a file of any size, line by line on all cores, and the memory it took:
//! `cargo run --release -p topwork-text --example stream -- TOKENIZER.json TEXTS.txt ids|encodings`.
#![allow(clippy::print_stdout, reason = "its output is the measurement")]

use std::fs::File;
use std::io::BufReader;
use std::time::Instant;

use topwork_text::Tokenizer;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, texts, what] = arguments.as_slice() else {
        return Err("expected three arguments: TOKENIZER.json TEXTS.txt ids|encodings".into());
    };
    let tokenizer = Tokenizer::from_file(tokenizer)?;
    let bytes = std::fs::metadata(texts)?.len();
    let reader = BufReader::new(File::open(texts)?);
    let (start, mut lines, mut tokens) = (Instant::now(), 0, 0);
    match what.as_str() {
        "ids" => {
            for some in tokenizer.ids_of_lines(reader, None) {
                let some = some?;
                lines += some.len();
                tokens += some.ids().len();
            }
        }
        "encodings" => {
            for encoding in tokenizer.encode_lines(reader, None) {
                lines += 1;
                tokens += encoding?.len();
            }
        }
        other => return Err(format!("expected ids or encodings, got {other:?}").into()),
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{what}: {bytes} bytes, {lines} lines, {tokens} tokens in {seconds:.2} s on {} threads: {:.1} MB/s",
        rayon::current_num_threads(),
        bytes as f64 / seconds / 1e6
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(most) = status.lines().find(|line| line.starts_with("VmHWM")) {
        println!("most memory held: {}", most.trim_start_matches("VmHWM:").trim());
    }
    Ok(())
}
