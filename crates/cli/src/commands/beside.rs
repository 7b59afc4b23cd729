//! What `topwork train` is told about parts of the data, and about texts beside it.

use topwork::Recipe;
use topwork::recipe::{BesideRecipe, KeepRecipe, Lesson};

use super::train::Start;

impl Start {
    /// Puts what was asked for into a recipe, above what it says.
    pub(super) fn put_beside(&self, recipe: &mut Recipe) {
        if !self.slice.is_empty() {
            recipe.report.slices.clone_from(&self.slice);
            if self.slice_heads {
                recipe.task.slices.clone_from(&self.slice);
            }
        }
        if let Some(score) = &self.keep_score {
            let before = recipe.keep.take().unwrap_or_default();
            recipe.keep =
                Some(KeepRecipe { score: score.clone(), data: self.keep_data.clone().or(before.data) });
        }
        if let Some(data) = &self.beside {
            let before = recipe.beside.take().unwrap_or_default();
            recipe.beside = Some(BesideRecipe {
                data: data.clone(),
                lesson: self.lesson.unwrap_or(if self.teacher.is_empty() {
                    before.lesson
                } else {
                    Lesson::Teacher
                }),
                weight: self.beside_weight.or(before.weight),
                teachers: if self.teacher.is_empty() { before.teachers } else { self.teacher.clone() },
                sure: self.sure.or(before.sure),
                ..before
            });
        }
    }
}
