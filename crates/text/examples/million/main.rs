//! Compares ids and offsets with those of the `tokenizers` crate on a million lines that a seed makes of texts at
//! hand, and measures both on one core:
//! `cargo run --release -p topwork-text --example million -- TOKENIZER.json LINES TEXTS...`.
//! `as-is` for LINES encodes each line of the texts once and unchanged, which measures ordinary text that words are not
//! known from before. Ends with an error at the first line that differs.
#![allow(clippy::print_stdout, reason = "its output is the measurement")]

mod lines;

use std::time::{Duration, Instant};

use topwork_text::Tokenizer;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The same lines are made by everyone.
const SEED: u64 = 20_240_601;
/// Lines that are held at once.
const BLOCK: u64 = 10_000;

/// Time this thread has run, so that other work on the machine does not count; the clock where the system does not
/// say.
fn on_cpu(clock: Instant) -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ran = stat.split(' ').next().and_then(|ran| ran.parse().ok());
    ran.map_or_else(|| clock.elapsed(), Duration::from_nanos)
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, count, texts @ ..] = arguments.as_slice() else {
        return Err("expected at least three arguments: TOKENIZER.json LINES TEXTS...".into());
    };
    let texts: Vec<String> = texts.iter().map(std::fs::read_to_string).collect::<Result<_, _>>()?;
    let texts: Vec<&str> = texts.iter().flat_map(|text| lines::pieces(text)).collect();
    if texts.is_empty() {
        return Err("expected texts with at least one line, got none".into());
    }
    let as_is = count == "as-is";
    let count: u64 = if as_is { texts.len() as u64 } else { count.parse()? };
    let ours = Tokenizer::from_file(tokenizer)?;
    let mut crates = tokenizers::Tokenizer::from_file(tokenizer)?;
    crates.with_truncation(None)?;
    crates.with_padding(None);

    // One thread, which everything runs on.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let (clock, mut times, mut bytes, mut tokens) = (Instant::now(), [Duration::ZERO; 2], 0, 0);
    for from in (0..count).step_by(BLOCK as usize) {
        let mut block = vec![String::new(); (count - from).min(BLOCK) as usize];
        for (line, number) in block.iter_mut().zip(from..) {
            if as_is {
                line.push_str(texts[number as usize]);
            } else {
                lines::make(&texts, SEED, number, line);
            }
        }
        let block: Vec<&str> = block.iter().map(String::as_str).collect();
        let (got, expected, spent) = pool.install(|| -> Outcome<_> {
            let begin = on_cpu(clock);
            let got = ours.encode_batch(&block, None)?;
            let between = on_cpu(clock);
            let expected = crates.encode_batch(block.clone(), true)?;
            Ok((got, expected, [between - begin, on_cpu(clock) - between]))
        })?;
        times = [times[0] + spent[0], times[1] + spent[1]];
        for (number, ((line, ours), theirs)) in (from..).zip(block.iter().zip(&got).zip(&expected)) {
            bytes += line.len();
            tokens += ours.len();
            if ours.ids != theirs.get_ids() || !ours.offsets().eq(theirs.get_offsets().iter().copied()) {
                println!("line {number} differs: {line:?}");
                println!("ours  {:?} {:?}", ours.ids, ours.offsets().collect::<Vec<_>>());
                println!("crate {:?} {:?}", theirs.get_ids(), theirs.get_offsets());
                return Err(format!("line {number} of {count} differs").into());
            }
        }
    }
    println!("{count} lines of {} texts, {bytes} bytes, {tokens} tokens: no line differs", texts.len());
    let [ours, theirs] = times.map(|time| time.as_secs_f64());
    for (name, seconds) in [("ours", ours), ("crate", theirs)] {
        println!(
            "{name:>6} {seconds:8.2} s on one core {:8.1} MB/s {:10.0} lines/s",
            bytes as f64 / seconds / 1e6,
            count as f64 / seconds
        );
    }
    println!("{:.1} times as fast", theirs / ours);
    Ok(())
}
