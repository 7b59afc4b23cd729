//! Options of `topwork train` about parts of the data, and about texts beside it.

use std::path::PathBuf;

use topwork::Recipe;
use topwork::recipe::{BesideRecipe, Lesson};

/// Parts of the data, and texts beside it.
#[derive(clap::Args)]
pub struct Beside {
    /// Measure a part of the test data by itself, such as "text contains not", "words > 30 and label = spam"; may be repeated
    #[arg(long, value_name = "CONDITION")]
    slice: Vec<String>,
    /// Give the head an expert for each --slice
    #[arg(long, requires = "slice")]
    slice_heads: bool,
    /// Learn from texts of another domain or task too, a file or folder with the columns of the data; --lesson says what
    #[arg(long, value_name = "FILE")]
    beside: Option<PathBuf>,
    /// What texts beside are there for: labels (theirs are learnt in the same steps), domain (vectors are taught not to tell the
    /// two apart), likeness (training texts are drawn the more often the more they are like them) [default: labels]
    #[arg(long, value_name = "NAME", requires = "beside", value_parser = lesson)]
    lesson: Option<Lesson>,
    /// How much texts beside weigh: their share of the loss (labels; default 0.5), or how strongly domains are made alike (domain;
    /// default 1)
    #[arg(long, value_name = "NUMBER", requires = "beside")]
    beside_weight: Option<f32>,
}

impl Beside {
    /// Puts what was asked for into a recipe, above what it says.
    pub fn put_into(&self, recipe: &mut Recipe) {
        if !self.slice.is_empty() {
            recipe.report.slices.clone_from(&self.slice);
            if self.slice_heads {
                recipe.task.slices.clone_from(&self.slice);
            }
        }
        if let Some(data) = &self.beside {
            let before = recipe.beside.take().unwrap_or_default();
            recipe.beside = Some(BesideRecipe {
                data: data.clone(),
                lesson: self.lesson.unwrap_or(before.lesson),
                weight: self.beside_weight.or(before.weight),
            });
        }
    }
}

fn lesson(name: &str) -> Result<Lesson, String> {
    let found = Lesson::ALL.iter().find(|(_, known)| *known == name);
    let known = || Lesson::ALL.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    found.map(|(lesson, _)| *lesson).ok_or_else(|| format!("expected one of {}", known()))
}
