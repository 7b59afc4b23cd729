//! The network that GPT and GPT-2 have in common: a table of words and one of positions, then their layers. A family file brings
//! the layers and the norm behind them; nothing here knows which family it serves.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::pool::Pool;
use topwork_nn::{Cache, Init, ParamId, ParamKind, ParamStore, Pass, Site};
use topwork_text::Packed;

use crate::causal::{self, Block, FinalNorm};
use crate::error::Error;
use crate::family::{ClassifierStyle, Decoder, Encoder, LanguageModelStyle, Size, TaggerStyle};

/// The tables of words and of positions.
pub struct Tables {
    word: ParamId,
    position: ParamId,
}

impl Tables {
    /// Declares `embed.word` and `embed.position` in group 0.
    pub fn declare(store: &mut ParamStore, size: &Size) -> Self {
        let init = Init::Normal(size.std);
        let mut table =
            |path: &str, rows| store.declare(path, &[rows, size.hidden], 0, ParamKind::Weight, init);
        Tables {
            word: table("embed.word.weight", size.vocab),
            position: table("embed.position.weight", size.max_tokens),
        }
    }
}

/// Tables, layers and a norm.
pub struct LearnedPositions<B: Block<Shared = ()>> {
    /// Sizes.
    pub size: Size,
    /// Words and positions, which are added.
    pub tables: Tables,
    /// Dropout on their sum.
    pub embedding_dropout: f32,
    /// The layers, shared with the segments of a pass that recomputes them.
    pub blocks: Vec<Arc<B>>,
    /// The norm behind them.
    pub norm: FinalNorm,
    /// The family's tagger.
    pub tagger: TaggerStyle,
}

impl<B: Block<Shared = ()>> LearnedPositions<B> {
    fn embedded(&self, pass: &Pass, input: &Packed, cache: Option<&Cache>) -> Result<Tensor<2>, Error> {
        let positions = causal::positions(input, cache, self.size.max_tokens)?;
        let Tables { word, position } = self.tables;
        let sum = pass.lookup(word, &input.ids)? + pass.lookup(position, &positions)?;
        let x = topwork_ops::dropout(sum, pass.dropout(self.embedding_dropout, "embed"));
        Ok(pass.at(Site::Embedded, 0, x))
    }
}

impl<B: Block<Shared = ()>> Encoder for LearnedPositions<B> {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        self.embedded(pass, input, None)
    }

    fn layers(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        causal::layers(pass, x, offsets, (&self.blocks, &self.norm), which, &())
    }

    fn size(&self) -> &Size {
        &self.size
    }

    fn word_table(&self) -> ParamId {
        self.tables.word
    }

    fn classifier(&self) -> ClassifierStyle {
        ClassifierStyle { pool: Pool::Last, dense: None, dropout: 0.0, bias: false }
    }

    fn tagger(&self) -> TaggerStyle {
        self.tagger
    }

    fn language_model(&self) -> LanguageModelStyle {
        LanguageModelStyle { transform: None, tied: true, bias: None }
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        Some(self)
    }
}

impl<B: Block<Shared = ()>> Decoder for LearnedPositions<B> {
    fn read_on(&self, pass: &Pass, input: &Packed, cache: &mut Cache) -> Result<Tensor<2>, Error> {
        let x = self.embedded(pass, input, Some(cache))?;
        causal::layers_cached(pass, x, input, (&self.blocks, &self.norm), cache, &())
    }
}
