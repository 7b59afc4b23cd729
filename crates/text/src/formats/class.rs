//! The kinds of tokenizers: how each is built from its files, and what goes around a text.

use std::path::Path;

use serde_json::Value;

use crate::settings::{Settings, object, read_optional};
use crate::{Error, Result};

/// A special token that a class names, unless the files do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Role {
    pub name: &'static str,
    pub token: &'static str,
    /// `n`: looked for in normalized text; `l`: takes the spaces before it; `-`: neither, whatever the model says.
    pub flags: &'static str,
}

/// How the files become a tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Build {
    /// `vocab.txt`.
    WordPiece,
    /// `vocab.json` and `merges.txt`, bytes as letters.
    Bytes(Bytes),
    /// `vocab.json` and `merges.txt`, words that end in `</w>`.
    WordEnds { lower: bool },
    /// A SentencePiece model.
    Pieces(Pieces),
    /// A SentencePiece model that splits and a `vocab.json` that numbers.
    Numbered,
}

/// What byte-level BPE tokenizers differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bytes {
    /// A template around the texts, or nothing.
    Framed,
    /// RoBERTa's post-processor.
    Roberta,
    /// NFC before, and a split of its own.
    Qwen2,
    /// Lower case, words that end in `</w>`.
    Clip,
}

/// What SentencePiece tokenizers differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pieces {
    Plain,
    /// `<s> <pad> </s> <unk>` first.
    Fairseq,
    Camembert,
    MBart,
    MBart50,
    Nllb,
    Xglm,
    Barthez,
    Albert,
    RemBert,
    DebertaV2,
    T5,
    Pegasus,
    Llama,
    Gemma,
}

/// A class of tokenizers.
#[derive(Debug)]
pub(super) struct Class {
    /// Names as `tokenizer_class`, without `Fast`.
    pub names: &'static [&'static str],
    /// Values of `model_type` whose tokenizer it is.
    pub models: &'static [&'static str],
    pub build: Build,
    pub roles: &'static [Role],
    /// What goes around a text and a pair; a role in small letters stands for its token. Empty: nothing.
    pub frame: [&'static str; 2],
}

const fn role(name: &'static str, token: &'static str, flags: &'static str) -> Role {
    Role { name, token, flags }
}

const BERT: &[Role] = &[
    role("unk_token", "[UNK]", ""),
    role("sep_token", "[SEP]", ""),
    role("pad_token", "[PAD]", ""),
    role("cls_token", "[CLS]", ""),
    role("mask_token", "[MASK]", ""),
];
const BERT_FRAME: [&str; 2] = ["cls $A sep", "cls $A sep $B:1 sep:1"];
const MPNET: &[Role] = &[
    role("bos_token", "<s>", "-"),
    role("eos_token", "</s>", "-"),
    role("unk_token", "[UNK]", "-"),
    role("sep_token", "</s>", "-"),
    role("pad_token", "<pad>", "-"),
    role("cls_token", "<s>", "-"),
    role("mask_token", "<mask>", "l"),
];
const FUNNEL: &[Role] = &[
    role("bos_token", "<s>", ""),
    role("eos_token", "</s>", ""),
    role("unk_token", "<unk>", ""),
    role("sep_token", "<sep>", ""),
    role("pad_token", "<pad>", ""),
    role("cls_token", "<cls>", ""),
    role("mask_token", "<mask>", ""),
];
/// All found in normalized text, with the flags of the mask.
const fn roberta(mask: &'static str) -> [Role; 7] {
    [
        role("bos_token", "<s>", "n"),
        role("eos_token", "</s>", "n"),
        role("unk_token", "<unk>", "n"),
        role("sep_token", "</s>", "n"),
        role("pad_token", "<pad>", "n"),
        role("cls_token", "<s>", "n"),
        role("mask_token", "<mask>", mask),
    ]
}
const ROBERTA: &[Role] = &roberta("l");
const BART: &[Role] = &roberta("nl");
const GPT2: &[Role] = &[
    role("bos_token", "<|endoftext|>", "n"),
    role("eos_token", "<|endoftext|>", "n"),
    role("unk_token", "<|endoftext|>", "n"),
];
const CODEGEN: &[Role] = &[
    role("bos_token", "<|endoftext|>", "-"),
    role("eos_token", "<|endoftext|>", "-"),
    role("unk_token", "<|endoftext|>", "-"),
];
const QWEN2: &[Role] = &[
    role("eos_token", "<|endoftext|>", "-"),
    role("unk_token", "<|endoftext|>", "-"),
    role("pad_token", "<|endoftext|>", "-"),
];
const CLIP: &[Role] = &[
    role("bos_token", "<|startoftext|>", "n"),
    role("eos_token", "<|endoftext|>", "n"),
    role("unk_token", "<|endoftext|>", "n"),
    role("pad_token", "<|endoftext|>", ""),
];
const DEBERTA: &[Role] = &[
    role("bos_token", "[CLS]", "-"),
    role("eos_token", "[SEP]", "-"),
    role("unk_token", "[UNK]", "-"),
    role("sep_token", "[SEP]", "-"),
    role("pad_token", "[PAD]", "-"),
    role("cls_token", "[CLS]", "-"),
    role("mask_token", "[MASK]", "nl"),
];
const OPENAI: &[Role] = &[role("unk_token", "<unk>", "")];
const HERBERT: &[Role] = &[
    role("bos_token", "<s>", ""),
    role("unk_token", "<unk>", ""),
    role("sep_token", "</s>", ""),
    role("pad_token", "<pad>", ""),
    role("cls_token", "<s>", ""),
    role("mask_token", "<mask>", ""),
];
const fn fairseq(mask: &'static str) -> [Role; 7] {
    [
        role("bos_token", "<s>", ""),
        role("eos_token", "</s>", ""),
        role("unk_token", "<unk>", ""),
        role("sep_token", "</s>", ""),
        role("pad_token", "<pad>", ""),
        role("cls_token", "<s>", ""),
        role("mask_token", "<mask>", mask),
    ]
}
const FAIRSEQ: &[Role] = &fairseq("l");
const MASK_NORMALIZED: &[Role] = &fairseq("nl");
const FAIRSEQ_FRAME: [&str; 2] = ["<s> $A </s>", "<s> $A </s> </s> $B </s>"];
const NO_MASK: &[Role] = &[
    role("bos_token", "<s>", ""),
    role("eos_token", "</s>", ""),
    role("unk_token", "<unk>", ""),
    role("sep_token", "</s>", ""),
    role("pad_token", "<pad>", ""),
    role("cls_token", "<s>", ""),
];
const ALBERT: &[Role] = &[
    role("bos_token", "[CLS]", ""),
    role("eos_token", "[SEP]", ""),
    role("unk_token", "<unk>", ""),
    role("sep_token", "[SEP]", ""),
    role("pad_token", "<pad>", ""),
    role("cls_token", "[CLS]", ""),
    role("mask_token", "[MASK]", "l"),
];
const FNET: &[Role] = &[
    role("unk_token", "<unk>", ""),
    role("sep_token", "[SEP]", ""),
    role("pad_token", "<pad>", ""),
    role("cls_token", "[CLS]", ""),
    role("mask_token", "[MASK]", "l"),
];
const REMBERT: &[Role] = &[
    role("bos_token", "[CLS]", ""),
    role("eos_token", "[SEP]", ""),
    role("unk_token", "[UNK]", ""),
    role("sep_token", "[SEP]", ""),
    role("pad_token", "[PAD]", ""),
    role("cls_token", "[CLS]", ""),
    role("mask_token", "[MASK]", "nl"),
];
const XLNET: &[Role] = &[
    role("bos_token", "<s>", ""),
    role("eos_token", "</s>", ""),
    role("unk_token", "<unk>", ""),
    role("sep_token", "<sep>", ""),
    role("pad_token", "<pad>", ""),
    role("cls_token", "<cls>", ""),
    role("mask_token", "<mask>", "l"),
];
const BIG_BIRD: &[Role] = &[
    role("bos_token", "<s>", "n"),
    role("eos_token", "</s>", "n"),
    role("unk_token", "<unk>", "n"),
    role("sep_token", "[SEP]", "n"),
    role("pad_token", "<pad>", "n"),
    role("cls_token", "[CLS]", "n"),
    role("mask_token", "[MASK]", "nl"),
];
const SQUARE_FRAME: [&str; 2] = ["[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"];
const DEBERTA_V2: &[Role] = &[
    role("bos_token", "[CLS]", ""),
    role("eos_token", "[SEP]", ""),
    role("unk_token", "[UNK]", "n"),
    role("sep_token", "[SEP]", ""),
    role("pad_token", "[PAD]", ""),
    role("cls_token", "[CLS]", ""),
    role("mask_token", "[MASK]", ""),
];
const T5: &[Role] =
    &[role("eos_token", "</s>", "-"), role("unk_token", "<unk>", "-"), role("pad_token", "<pad>", "-")];
const T5_FRAME: [&str; 2] = ["$A </s>", "$A </s> $B </s>"];
const PEGASUS: &[Role] = &[
    role("eos_token", "</s>", "-"),
    role("unk_token", "<unk>", ""),
    role("pad_token", "<pad>", "-"),
    role("mask_token", "<mask_2>", "-"),
];
const REFORMER: &[Role] = &[role("eos_token", "</s>", ""), role("unk_token", "<unk>", "")];
const LLAMA: &[Role] =
    &[role("bos_token", "<s>", "-"), role("eos_token", "</s>", "-"), role("unk_token", "<unk>", "-")];
const GEMMA: &[Role] = &[
    role("bos_token", "<bos>", "-"),
    role("eos_token", "<eos>", "-"),
    role("unk_token", "<unk>", "-"),
    role("pad_token", "<pad>", "-"),
];
const MARIAN: &[Role] =
    &[role("eos_token", "</s>", ""), role("unk_token", "<unk>", ""), role("pad_token", "<pad>", "")];

/// The classes, a line an entry: names, model types, how it is built, roles, frame.
const CLASSES: &[Class] = &[
    class(
        &[
            "BertTokenizer",
            "DistilBertTokenizer",
            "ElectraTokenizer",
            "MobileBertTokenizer",
            "ConvBertTokenizer",
            "LxmertTokenizer",
            "LayoutLMTokenizer",
            "LayoutLMv2Tokenizer",
            "SqueezeBertTokenizer",
            "RetriBertTokenizer",
            "RealmTokenizer",
            "DPRReaderTokenizer",
            "DPRQuestionEncoderTokenizer",
            "DPRContextEncoderTokenizer",
        ],
        &[
            "bert",
            "distilbert",
            "electra",
            "mobilebert",
            "convbert",
            "lxmert",
            "layoutlm",
            "layoutlmv2",
            "squeezebert",
            "retribert",
            "realm",
            "dpr",
            "megatron-bert",
            "visual_bert",
            "qdqbert",
            "nezha",
            "vilt",
            "flava",
        ],
        Build::WordPiece,
        BERT,
        BERT_FRAME,
    ),
    class(
        &["MPNetTokenizer"],
        &["mpnet"],
        Build::WordPiece,
        MPNET,
        ["cls $A sep", "cls $A sep sep $B:1 sep:1"],
    ),
    class(
        &["FunnelTokenizer"],
        &["funnel"],
        Build::WordPiece,
        FUNNEL,
        ["cls:2 $A sep", "cls:2 $A sep $B:1 sep:1"],
    ),
    class(
        &["SplinterTokenizer"],
        &["splinter"],
        Build::WordPiece,
        BERT,
        ["cls $A sep", "cls $A question . sep $B:1 sep:1"],
    ),
    class(
        &["RobertaTokenizer", "LongformerTokenizer"],
        &["roberta", "longformer", "roberta-prelayernorm", "data2vec-text", "ibert"],
        Build::Bytes(Bytes::Roberta),
        ROBERTA,
        ["", ""],
    ),
    class(
        &["BartTokenizer", "LEDTokenizer", "MvpTokenizer"],
        &["bart", "led", "mvp"],
        Build::Bytes(Bytes::Roberta),
        BART,
        ["", ""],
    ),
    class(
        &["BlenderbotTokenizer"],
        &["blenderbot"],
        Build::Bytes(Bytes::Framed),
        ROBERTA,
        ["$A eos", "$A $B:1"],
    ),
    class(
        &["GPT2Tokenizer"],
        &["gpt2", "gpt_neo", "gptj", "gpt_bigcode", "opt", "decision_transformer", "starcoder2"],
        Build::Bytes(Bytes::Framed),
        GPT2,
        ["", ""],
    ),
    class(&["CodeGenTokenizer"], &["codegen", "phi"], Build::Bytes(Bytes::Framed), CODEGEN, ["", ""]),
    class(&["DebertaTokenizer"], &["deberta"], Build::Bytes(Bytes::Framed), DEBERTA, SQUARE_FRAME),
    class(
        &["Qwen2Tokenizer"],
        &["qwen2", "qwen2_moe", "qwen3", "qwen3_moe"],
        Build::Bytes(Bytes::Qwen2),
        QWEN2,
        ["", ""],
    ),
    class(&["CLIPTokenizer"], &["clip", "clip_text_model"], Build::Bytes(Bytes::Clip), CLIP, ["", ""]),
    class(&["OpenAIGPTTokenizer"], &["openai-gpt"], Build::WordEnds { lower: true }, OPENAI, ["", ""]),
    class(&["HerbertTokenizer"], &[], Build::WordEnds { lower: false }, HERBERT, ["cls sep", ""]),
    class(
        &["XLMRobertaTokenizer", "LayoutXLMTokenizer"],
        &["xlm-roberta", "xlm-roberta-xl", "xmod", "layoutxlm"],
        Build::Pieces(Pieces::Fairseq),
        FAIRSEQ,
        FAIRSEQ_FRAME,
    ),
    class(&["CamembertTokenizer"], &["camembert"], Build::Pieces(Pieces::Camembert), FAIRSEQ, FAIRSEQ_FRAME),
    class(&["BarthezTokenizer"], &[], Build::Pieces(Pieces::Barthez), FAIRSEQ, FAIRSEQ_FRAME),
    class(
        &["MBartTokenizer"],
        &["mbart"],
        Build::Pieces(Pieces::MBart),
        FAIRSEQ,
        ["$A </s> lang", "$A $B </s> lang"],
    ),
    class(
        &["MBart50Tokenizer"],
        &[],
        Build::Pieces(Pieces::MBart50),
        MASK_NORMALIZED,
        ["lang $A </s>", "lang $A $B </s>"],
    ),
    class(
        &["NllbTokenizer"],
        &["nllb-moe"],
        Build::Pieces(Pieces::Nllb),
        MASK_NORMALIZED,
        ["lang $A </s>", "lang $A $B </s>"],
    ),
    class(
        &["XGLMTokenizer"],
        &["xglm"],
        Build::Pieces(Pieces::Xglm),
        NO_MASK,
        ["</s> $A", "</s> $A </s> </s> $B"],
    ),
    class(
        &["AlbertTokenizer"],
        &["albert", "nystromformer", "yoso"],
        Build::Pieces(Pieces::Albert),
        ALBERT,
        SQUARE_FRAME,
    ),
    class(&["FNetTokenizer"], &["fnet"], Build::Pieces(Pieces::Albert), FNET, SQUARE_FRAME),
    class(&["RemBertTokenizer"], &["rembert"], Build::Pieces(Pieces::RemBert), REMBERT, SQUARE_FRAME),
    class(
        &["XLNetTokenizer"],
        &["xlnet"],
        Build::Pieces(Pieces::Albert),
        XLNET,
        ["$A <sep> <cls>:2", "$A <sep> $B:1 <sep>:1 <cls>:2"],
    ),
    class(&["BigBirdTokenizer"], &["big_bird"], Build::Pieces(Pieces::Plain), BIG_BIRD, SQUARE_FRAME),
    class(
        &["DebertaV2Tokenizer"],
        &["deberta-v2"],
        Build::Pieces(Pieces::DebertaV2),
        DEBERTA_V2,
        SQUARE_FRAME,
    ),
    class(
        &["T5Tokenizer"],
        &["t5", "mt5", "umt5", "longt5", "switch_transformers"],
        Build::Pieces(Pieces::T5),
        T5,
        T5_FRAME,
    ),
    class(
        &["PegasusTokenizer"],
        &["pegasus", "pegasus_x", "bigbird_pegasus"],
        Build::Pieces(Pieces::Pegasus),
        PEGASUS,
        ["$A eos", "$A $B eos"],
    ),
    class(&["ReformerTokenizer"], &["reformer"], Build::Pieces(Pieces::Plain), REFORMER, ["", ""]),
    class(
        &["LlamaTokenizer", "CodeLlamaTokenizer", "Phi3Tokenizer"],
        &["llama", "code_llama", "mistral", "mixtral", "phi3", "persimmon", "fuyu"],
        Build::Pieces(Pieces::Llama),
        LLAMA,
        ["", ""],
    ),
    class(
        &["GemmaTokenizer"],
        &["gemma", "gemma2", "recurrent_gemma"],
        Build::Pieces(Pieces::Gemma),
        GEMMA,
        ["", ""],
    ),
    class(&["MarianTokenizer"], &["marian"], Build::Numbered, MARIAN, ["$A eos", "$A $B:1 eos:1"]),
];

const fn class(
    names: &'static [&'static str],
    models: &'static [&'static str],
    build: Build,
    roles: &'static [Role],
    frame: [&'static str; 2],
) -> Class {
    Class { names, models, build, roles, frame }
}

/// BERT's class, for a `vocab.txt` of which nothing is said.
pub(super) fn bert() -> &'static Class {
    &CLASSES[0]
}

/// The class of the tokenizer in a folder, as its files say; `None` if they say none that is known, with what they say.
pub(super) fn find(folder: &Path, settings: &Settings) -> Result<(Option<&'static Class>, Option<String>)> {
    let path = folder.join("config.json");
    let config = object(&path, read_optional(&path)?.as_deref())?;
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    let mut said = None;
    for name in [settings.text("tokenizer_class")?, text("tokenizer_class")].into_iter().flatten() {
        let bare = name.strip_suffix("Fast").unwrap_or(name);
        if let Some(class) = CLASSES.iter().find(|class| class.names.contains(&bare)) {
            return Ok((Some(class), None));
        }
        said = said.or_else(|| Some(format!("{name:?}")));
    }
    // Two models that became one have the tokenizer of the one that reads.
    let reads = || config.get("encoder")?.get("model_type")?.as_str();
    if let Some(kind) = text("model_type").map(|kind| reads().unwrap_or(kind)) {
        if let Some(class) = CLASSES.iter().find(|class| class.models.contains(&kind)) {
            return Ok((Some(class), None));
        }
        said = said.or_else(|| Some(format!("{kind:?}")));
    }
    Ok((None, said))
}

/// The class, which must be known.
pub(super) fn find_known(folder: &Path, settings: &Settings) -> Result<&'static Class> {
    match find(folder, settings)? {
        (Some(class), _) => Ok(class),
        (None, got) => Err(Error::Class { folder: folder.into(), got }),
    }
}
