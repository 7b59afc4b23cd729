//! Things that options call by name: kinds of task, heads, layers, ways to pool, lessons.

use clap::ValueEnum;
use topwork::plan::Order;
use topwork::recipe::{Kind, Lesson};
use topwork_models::{Body, Layers, Pooling, VectorLossKind};

/// A kind of task by its name.
pub fn kind(name: &str) -> Result<Kind, String> {
    named(name, Kind::ALL.iter().map(|(kind, name)| (*kind, *name)))
}

/// What a name stands for, or which names there are.
fn named<T>(name: &str, known: impl Iterator<Item = (T, &'static str)> + Clone) -> Result<T, String> {
    let found = known.clone().find(|(_, known)| *known == name);
    found.map(|(value, _)| value).ok_or_else(|| {
        let names: Vec<&str> = known.map(|(_, name)| name).collect();
        let meant = topwork::nearest::nearest(name, names.iter().copied()).unwrap_or_default();
        format!("there are {}; did you mean {meant:?}?", names.join(", "))
    })
}

/// An order of two tasks by its name.
pub fn order(name: &str) -> Result<Order, String> {
    named(name, Order::ALL.iter().copied())
}

/// A loss of vectors by its name.
pub fn loss(name: &str) -> Result<VectorLossKind, String> {
    named(name, VectorLossKind::ALL.iter().map(|(kind, name, ..)| (*kind, *name)))
}

/// Numbers of a hidden layer, or of each direction of an LSTM, when nothing is said.
const WIDTH: usize = 256;

/// What stands before a head's outputs, as the option names it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadName {
    /// What it is.
    pub body: Body,
    /// Whether labels are scored as a whole.
    pub crf: bool,
}

impl HeadName {
    /// From `mlp:128`, `bilstm-crf:256:2` and the like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let (name, crf) = match name.strip_suffix("-crf") {
            Some(name) => (name, true),
            None if name == "crf" => ("own", true),
            None => (name, false),
        };
        let number = |part: Option<&str>, otherwise: usize| match part.map(str::parse::<usize>) {
            None => Ok(otherwise),
            Some(Ok(number)) if number > 0 => Ok(number),
            Some(_) => {
                Err("a width and a number of layers are whole numbers above 0, as in bilstm:256:2"
                    .to_string())
            }
        };
        let width = number(parts.next(), WIDTH)?;
        let layers = number(parts.next(), 1)?;
        let body = match name {
            "own" => Body::Own,
            "linear" => Body::Linear,
            "mlp" => Body::Mlp { width },
            "bilstm" => Body::BiLstm { width, layers },
            _ => {
                let known = ["own", "linear", "mlp", "bilstm", "crf", "bilstm-crf"];
                let meant = topwork::nearest::nearest(text, known).unwrap_or_default();
                return Err(format!("there are {}; did you mean {meant:?}?", known.join(", ")));
            }
        };
        let most = match body {
            Body::BiLstm { .. } => 2,
            Body::Mlp { .. } => 1,
            Body::Own | Body::Linear => 0,
        };
        let given = text.matches(':').count();
        if given > most {
            return Err(format!("{name} takes {most} numbers, got {given}"));
        }
        Ok(HeadName { body, crf })
    }
}

/// Which hidden states a head reads, by name.
pub fn layers(name: &str) -> Result<Layers, String> {
    named(name, Layers::ALL.iter().map(|layers| (*layers, layers.name())))
}

/// Poolings as options name them.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PoolName {
    /// As the family's own classifier does it
    Family,
    /// The first token
    Cls,
    /// The mean of all tokens
    Mean,
    /// The largest value of each coordinate
    Max,
    /// The attention of a learnt query
    Attention,
}

impl PoolName {
    /// For the library.
    pub fn pooling(self) -> Pooling {
        match self {
            PoolName::Family => Pooling::Family,
            PoolName::Cls => Pooling::Cls,
            PoolName::Mean => Pooling::Mean,
            PoolName::Max => Pooling::Max,
            PoolName::Attention => Pooling::Attention,
        }
    }
}

/// What texts beside are there for, by its name.
pub fn lesson(name: &str) -> Result<Lesson, String> {
    named(name, Lesson::ALL.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_have_names_and_sizes() {
        let head = |body, crf| Ok(HeadName { body, crf });
        assert_eq!(HeadName::parse("mlp:64"), head(Body::Mlp { width: 64 }, false));
        assert_eq!(HeadName::parse("bilstm-crf:128:2"), head(Body::BiLstm { width: 128, layers: 2 }, true));
        assert_eq!(HeadName::parse("crf"), head(Body::Own, true));
        for (wrong, said) in
            [("bilstn", "\"bilstm\""), ("mlp:0", "above 0"), ("linear:3", "takes 0"), ("mlp:3:1", "takes 1")]
        {
            let error = HeadName::parse(wrong).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(layers("mix"), Ok(Layers::Mix));
        assert!(layers("mixed").unwrap_err().contains("\"mix\""));
    }
}
