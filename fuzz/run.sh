#!/bin/bash
# Runs one fuzz target on the fixtures of the repository: run.sh TARGET [SECONDS] [more options of libFuzzer].
# With cargo-fuzz and nightly if they are there; else libFuzzer alone, which sees panics and overflows but no misuse of memory.
# What it finds interesting is kept in corpus/TARGET, what breaks a reader in artifacts/TARGET. Ends when something breaks.
set -euo pipefail
fuzz=$(cd "$(dirname "$0")" && pwd)
cd "$fuzz/.."
target=${1:?which target? one of $(basename -s .rs "$fuzz"/targets/*.rs | xargs)}
seconds=${2:-600}
shift $(($# < 2 ? $# : 2))
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT

# Files that are one input each.
single() {
    local file
    for file in "$@"; do cp "$file" "$(mktemp -p "$seeds")"; done
}
# Files (or texts, after a colon) that are one input together.
together() {
    local to first=1 part
    to=$(mktemp -p "$seeds")
    for part in "$@"; do
        [ $first = 1 ] || printf '\n--8<--\n' >>"$to"
        first=0
        case $part in
        :*) printf '%s' "${part#:}" >>"$to" ;;
        *) cat "$part" >>"$to" ;;
        esac
    done
}
class() { printf ':{"tokenizer_class": "%s"}' "$1"; }

in=fixtures/tokenizers-in
weights=fixtures/weights
case $target in
safetensors) single $weights/pytorch/golden.safetensors $weights/gguf/{store,bert,phi3}.safetensors ;;
pytorch_zip) single $weights/pytorch/{zip-?.bin,plain.pt,big-endian.bin,checkpoint.ckpt} $weights/hostile/*.bin fixtures/flair-published/{forward,bare}.pt ;;
pytorch_legacy) single $weights/pytorch/legacy-?.bin $weights/hostile/os-system-legacy.bin fixtures/flair-published/old.pt ;;
pytorch_pickle)
    for file in $weights/pytorch/{zip-?.bin,plain.pt,checkpoint.ckpt} $weights/hostile/{eval,getattr,load-from-bytes,whole-model}-?.bin fixtures/flair-published/{forward,backward}.pt; do
        unzip -p "$file" '*/data.pkl' >"$(mktemp -p "$seeds")"
    done
    ;;
gguf) single $weights/gguf/*.gguf ;;
gguf_parts) together $weights/gguf/split/parts/*.gguf ;;
hdf5) single fixtures/weights-hdf5/*.h5 fixtures/weights-tensorflow/keras-gpt2/*.h5 ;;
tensorflow)
    for index in fixtures/weights-tensorflow/*/*.index; do together "$index" "${index%.index}".data-*; done
    single fixtures/weights-tensorflow/{bert-v1/model,formats/parts-v1}.ckpt
    ;;
onnx)
    single $weights/onnx/bert*.onnx
    together $weights/onnx/parts.onnx $weights/onnx/parts.bin
    ;;
npz) single $weights/npz/*.npz ;;
npy)
    unzip -qo $weights/npz/stored.npz -d "$seeds"
    ;;
llama2c) single $weights/llama2c/*.bin ;;
shards)
    together $weights/pytorch/sharded/pytorch_model.bin.index.json $weights/pytorch/sharded/*.bin
    ;;
shards_hdf5)
    together fixtures/weights-tensorflow/keras-shards/tf_model.h5.index.json fixtures/weights-tensorflow/keras-shards/*.h5
    ;;
word_vectors) single fixtures/vectors/*.{bin,ftz,vec,gz} fixtures/vectors/{glove,word2vec}.txt ;;
picture)
    for file in fixtures/pictures/*.{png,jpg,gif,bmp,webp}; do together "$file" fixtures/vit/preprocessor_config.json; done
    ;;
tokenizer_json)
    single fixtures/tokenizer/*.json
    for folder in fixtures/tokenizer/*/; do
        find "$folder" -name tokenizer.json | while read -r file; do
            if [ -f "$(dirname "$file")/tokenizer_config.json" ]; then
                together "$file" "$(dirname "$file")/tokenizer_config.json"
            else
                together "$file"
            fi
        done
    done
    ;;
wordpiece)
    together $in/bert.vocab.txt "$(class BertTokenizer)" ':{"[NEW]": 200}' ':{"mask_token": "[M]"}'
    together $in/mpnet.vocab.txt "$(class MPNetTokenizer)"
    together $in/funnel.vocab.txt "$(class FunnelTokenizer)"
    together $in/splinter.vocab.txt "$(class SplinterTokenizer)"
    ;;
pairs)
    together $in/gpt2.{vocab.json,merges.txt} "$(class GPT2Tokenizer)"
    together $in/roberta.{vocab.json,merges.txt} "$(class RobertaTokenizer)"
    together $in/openai.{vocab.json,merges.txt} "$(class OpenAIGPTTokenizer)"
    together $in/herbert.{vocab.json,merges.txt} "$(class HerbertTokenizer)"
    together $in/deberta.{vocab.json,merges.txt} "$(class DebertaTokenizer)" ':{"[NEW]": 300}'
    together $in/gpt2.{vocab.json,merges.txt} "$(class Qwen2Tokenizer)"
    together $in/openai.{vocab.json,merges.txt} "$(class CLIPTokenizer)"
    ;;
sentencepiece)
    for pair in albert:Albert bigbird:BigBird deberta:DebertaV2 fairseq:XLMRoberta gemma:Gemma llama:Llama t5:T5 xlnet:XLNet; do
        together $in/"${pair%:*}".model "$(class "${pair#*:}Tokenizer")"
    done
    for kind in Camembert MBart MBart50 Nllb XGLM Barthez Pegasus RemBert; do
        together $in/fairseq.model "$(class "${kind}Tokenizer")"
    done
    together $in/bpe.model "$(class LlamaTokenizer)" ':{"<new>": 300}'
    ;;
marian) together $in/marian.{source.model,vocab.json} "$(class MarianTokenizer)" ;;
gguf_tokenizer) : ;; # its input is no file
llama2c_tokenizer)
    python3 - "$seeds/small" <<'PYTHON'
import struct, sys
tokens = ["<unk>", "\n<s>\n", "\n</s>\n", *(f"<0x{byte:02X}>" for byte in range(256)), " a", " ", "a", "b", "ab", "\u00e9"]
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<I", 9))
    for at, token in enumerate(tokens):
        file.write(struct.pack("<fI", -float(at), len(token.encode())) + token.encode())
PYTHON
    ;;
chat_template)
    python3 - "$seeds" <<'PYTHON'
import json, sys
for each in json.load(open("fixtures/chat/golden.json"))["templates"]:
    open(f"{sys.argv[1]}/{each['name']}", "w").write(each["template"])
PYTHON
    ;;
csv)
    printf 'text,label\n"a ""quoted"", text",x\nb,y\n' >"$seeds/a"
    printf 'sentence1;sentence2;score\na;b;0.5\nc;d;1\n' >"$seeds/b"
    ;;
tsv)
    printf 'text\tlabel\nan old tree\tx|y\nb\ty\n' >"$seeds/a"
    single fixtures/vectors/pairs.tsv
    ;;
reviews)
    printf '<review>\n<rating>\n4.0\n</rating>\n<review_text>\na < b & c\n\n</review_text>\n</review>\n' >"$seeds/a"
    ;;
jsonl)
    printf '{"text": "a", "label": "x"}\n{"text": "b", "label": ["x", "y"]}\n' >"$seeds/a"
    printf '[{"text": "a \\u00e9", "pair": null, "label": 1.5}, {"text": "b", "label": 2}]' >"$seeds/b"
    single $in/texts.json
    printf '{"text": "a b", "entities": [[0, 1, "X"]]}\n{"tokens": ["a"], "tags": ["O"]}\n' >"$seeds/c"
    printf '{"question": "a", "context": "b", "answers": {"text": ["b"], "answer_start": [0]}}\n' >"$seeds/d"
    printf '{"question": "a", "choices": ["b", "c"], "answer": 1}\n{"translation": {"de": "a", "en": "b"}}\n' >"$seeds/e"
    printf '{"persona": ["a"], "history": ["b", "c"], "reply": "d", "candidates": ["d", "e"]}\n' >"$seeds/f"
    ;;
parquet) single fixtures/parquet/*.parquet fixtures/data-readers/*.parquet ;;
conll)
    printf -- '-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\nPeter NNP B-NP B-PER\n' >"$seeds/a"
    printf '# id = 1\nNew York\tB-LOC\n#\tO\n' >"$seeds/b"
    ;;
conllu) single fixtures/data-readers/*.conllu ;;
squad)
    printf '{"data": [{"paragraphs": [{"context": "a \u00e9 b", "qas": [{"id": 1, "question": "c", "answers": [{"text": "b", "answer_start": 4}]}]}]}]}' >"$seeds/a"
    ;;
personachat)
    printf '{"train": [{"personality": ["a ."], "utterances": [{"history": ["b"], "candidates": ["c", "d"]}]}], "valid": []}' >"$seeds/a"
    printf '[{"utterances": [{"history": ["a", "b", "c"], "candidates": ["d", "\u00e9"]}]}]' >"$seeds/b"
    ;;
arrow | corpus)
    single fixtures/data-readers/*.{arrow,feather}
    for file in fixtures/data-readers/*/*.arrow; do single "$file"; done
    ;;
*)
    echo "no target called $target" >&2
    exit 2
    ;;
esac

export TMPDIR="$seeds/files" RAYON_NUM_THREADS=1 ASAN_OPTIONS=quarantine_size_mb=16:allocator_may_return_null=0
mkdir -p "$TMPDIR" "$fuzz/corpus/$target"
inputs=$(mktemp -d -p "$TMPDIR")
find "$seeds" -maxdepth 1 -type f -exec cp {} "$inputs" \;
options=(-max_total_time="$seconds" -timeout=10 -report_slow_units=2 -rss_limit_mb=1024 -malloc_limit_mb=512 -print_final_stats=1 "$@")
if cargo +nightly fuzz --version >/dev/null 2>&1; then
    nice -n 19 cargo +nightly fuzz run --fuzz-dir "$fuzz" "$target" "$fuzz/corpus/$target" "$inputs" -- "${options[@]}"
    exit
fi
# What cargo-fuzz gives the compiler, but for the sanitizer.
counters="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
triple=$(rustc -vV | sed -n 's/^host: //p')
mkdir -p "$fuzz/artifacts/$target"
RUSTFLAGS="--cfg fuzzing $counters -Cdebug-assertions -Ccodegen-units=1" nice -n 19 cargo build --release \
    --manifest-path "$fuzz/Cargo.toml" --target "$triple" --bin "$target"
nice -n 19 "$fuzz/target/$triple/release/$target" "${options[@]}" -artifact_prefix="$fuzz/artifacts/$target/" \
    "$fuzz/corpus/$target" "$inputs"
