//! Measures encoding against the `tokenizers` crate, on one core and on all:
//! `cargo run --release -p topwork-text --example tokens -- TOKENIZER.json TEXTS.txt`. Each line is a text.
#![allow(clippy::print_stdout, reason = "its output is the measurement")]

use std::time::{Duration, Instant};

use topwork_text::{Encoding, Tokenizer};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Best of many runs: the machine may be busy with other work.
fn best<T>(mut run: impl FnMut() -> Outcome<T>) -> Outcome<f64> {
    let (mut best, begin) = (f64::INFINITY, Instant::now());
    let mut runs = 0;
    while runs < 3 || begin.elapsed() < Duration::from_millis(1500) {
        let start = Instant::now();
        let kept = run()?;
        best = best.min(start.elapsed().as_secs_f64());
        drop(kept);
        runs += 1;
    }
    Ok(best)
}

fn same(ours: &Encoding, theirs: &tokenizers::Encoding) -> bool {
    ours.ids == theirs.get_ids()
        && ours.offsets().eq(theirs.get_offsets().iter().copied())
        && ours.type_ids().eq(theirs.get_type_ids().iter().copied())
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, texts] = arguments.as_slice() else {
        return Err("expected two arguments: TOKENIZER.json TEXTS.txt".into());
    };
    let text = std::fs::read_to_string(texts)?;
    let texts: Vec<&str> = text.lines().collect();
    let bytes: usize = texts.iter().map(|text| text.len()).sum();

    let theirs = best(|| tokenizers::Tokenizer::from_file(tokenizer))?;
    let ours = best(|| Ok(Tokenizer::from_file(tokenizer)?))?;
    println!("load          crate {:8.2} ms   ours {:8.2} ms", theirs * 1e3, ours * 1e3);
    let ours = Tokenizer::from_file(tokenizer)?;
    let start = Instant::now();
    let limit = ours.id_limit();
    println!("id_limit      {limit} in {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    ours.encode_batch(&texts, None)?;
    println!("first batch   {:.2} ms", start.elapsed().as_secs_f64() * 1e3);

    let mut crates = tokenizers::Tokenizer::from_file(tokenizer)?;
    crates.with_truncation(None)?;
    crates.with_padding(None);
    let expected = crates.encode_batch(texts.clone(), true)?;
    let got = ours.encode_batch(&texts, None)?;
    let wrong = got.iter().zip(&expected).filter(|(ours, theirs)| !same(ours, theirs)).count();
    let tokens: usize = got.iter().map(Encoding::len).sum();
    println!("{} texts, {bytes} bytes, {tokens} tokens; {wrong} texts differ", texts.len());

    let mut cores = vec![1];
    if rayon::current_num_threads() > 1 {
        cores.push(rayon::current_num_threads());
    }
    for threads in cores {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let theirs = best(|| pool.install(|| crates.encode_batch(texts.clone(), true)))?;
        let ours = best(|| pool.install(|| Ok(ours.encode_batch(&texts, None)?)))?;
        for (name, seconds) in [("crate", theirs), ("ours", ours)] {
            println!(
                "{threads} core(s) {name:>6} {:10.0} texts/s {:8.1} MB/s {:8.2} ms",
                texts.len() as f64 / seconds,
                bytes as f64 / seconds / 1e6,
                seconds * 1e3
            );
        }
        println!("{threads} core(s)  {:.1} times as fast", theirs / ours);
    }
    Ok(())
}
