//! Linear models on bags of words or on dense vectors: what every fine-tune has to beat.
