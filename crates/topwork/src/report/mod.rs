//! The report of a run: one HTML file and a model card.
