"""One peer on real texts, timed: fine-tuning steps, inference over all texts, and one text alone.

The other side of `cargo xtask bench texts`. One process measures one side and prints one JSON line,
`{"side": ..., "train": texts/s or null, "infer": ..., "one_ms": ..., "peak_mb": ..., "version": ...}`.

trainer    the transformers Trainer as it comes: f32, batches padded to their longest text
best       the fastest loop found: bf16 autocast, fused AdamW, batches of texts of like length
compile    the same under torch.compile with dynamic shapes, after it has compiled
encode     sentence-transformers encode(), f32, which sorts by length
onnx       ONNX Runtime, f32, batches sorted by length
onnx-int8  the same with weights quantised dynamically
torch      the bare model under inference_mode, one text
"""

import argparse
import json
import os
import random
import tempfile
import time


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=["trainer", "best", "compile", "encode", "onnx", "onnx-int8", "torch"])
    parser.add_argument("--model", required=True)
    parser.add_argument("--texts", required=True, help="a text a line")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


def peak_mb():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024


def median(values):
    return sorted(values)[len(values) // 2]


def repeat(call, times=50):
    for _ in range(5):
        call()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1e3 * median(seconds)


def trainer(args, torch, ids):
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=2)
    rows = [{"input_ids": row, "attention_mask": [1] * len(row), "labels": i % 2} for i, row in enumerate(ids)]
    clock = {}

    class Clock(TrainerCallback):
        def on_step_end(self, arguments, state, control, **rest):
            if state.global_step == 5:
                clock["start"] = time.perf_counter()
            if state.global_step == args.steps + 5:
                clock["end"] = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=args.batch,
            max_steps=args.steps + 5,
            report_to=[],
            save_strategy="no",
            logging_steps=10**6,
            use_cpu=True,
            disable_tqdm=True,
        )
        collate = DataCollatorWithPadding(AutoTokenizer.from_pretrained(args.model))
        Trainer(model, settings, train_dataset=rows, data_collator=collate, callbacks=[Clock()]).train()
    return {"train": args.steps * args.batch / (clock["end"] - clock["start"])}


def best(args, torch, ids, compiled=False):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=2).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=True)
    if compiled:
        model = torch.compile(model, dynamic=True)
    need = (args.steps + 5) * args.batch
    pool = sorted((ids * (need // len(ids) + 1))[:need], key=len)
    batches = [pool[at : at + args.batch] for at in range(0, need, args.batch)]
    random.shuffle(batches)
    start = None
    for step, rows in enumerate(batches):
        if step == 5:
            start = time.perf_counter()
        longest = max(map(len, rows))
        x = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        labels = torch.arange(len(rows)) % 2
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=x, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return {"train": args.steps * args.batch / (time.perf_counter() - start)}


def encode(args, torch, ids):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(args.model, device="cpu")
    with open(args.texts, encoding="utf8") as file:
        texts = file.read().splitlines()
    model.encode(texts[:64])
    start = time.perf_counter()
    model.encode(texts, batch_size=32)
    seconds = time.perf_counter() - start
    middle = sorted(texts, key=len)[len(texts) // 2]
    return {"infer": len(texts) / seconds, "one_ms": repeat(lambda: model.encode(middle))}


def onnx(args, torch, ids, int8=False):
    import numpy
    import onnxruntime
    from transformers import AutoModel

    model = AutoModel.from_pretrained(args.model).eval()
    x = torch.randint(5, 1000, (2, 16))
    inputs = {"input_ids": x, "attention_mask": torch.ones_like(x), "token_type_ids": torch.zeros_like(x)}
    shape = {0: torch.export.Dim("batch", min=1, max=4096), 1: torch.export.Dim("seq", min=2, max=512)}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        torch.onnx.export(
            model,
            (),
            path,
            kwargs=inputs,
            dynamo=True,
            verbose=False,
            dynamic_shapes={name: shape for name in inputs},
            input_names=list(inputs),
            external_data=False,
        )
        if int8:
            from onnxruntime.quantization import QuantType, quantize_dynamic

            quantised = os.path.join(folder, "int8.onnx")
            quantize_dynamic(path, quantised, weight_type=QuantType.QInt8)
            path = quantised
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(rows):
        longest = max(map(len, rows))
        x = numpy.zeros((len(rows), longest), numpy.int64)
        mask = numpy.zeros_like(x)
        for at, row in enumerate(rows):
            x[at, : len(row)] = row
            mask[at, : len(row)] = 1
        feed = {"input_ids": x, "attention_mask": mask, "token_type_ids": numpy.zeros_like(x)}
        return session.run(None, feed)

    order = sorted(ids, key=len)
    run(order[:32])
    start = time.perf_counter()
    for at in range(0, len(order), 32):
        run(order[at : at + 32])
    seconds = time.perf_counter() - start
    middle = order[len(order) // 2]
    return {"infer": len(order) / seconds, "one_ms": repeat(lambda: run([middle]))}


def bare(args, torch, ids):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(args.model).eval()
    middle = torch.tensor([sorted(ids, key=len)[len(ids) // 2]])
    with torch.inference_mode():
        return {"one_ms": repeat(lambda: model(input_ids=middle))}


def main():
    args = arguments()
    # Read when torch is loaded.
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    import torch
    import transformers

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    random.seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    with open(args.texts, encoding="utf8") as file:
        texts = file.read().splitlines()
    ids = tokenizer(texts, truncation=True, max_length=512, padding=False)["input_ids"]
    if args.side in ("trainer", "best", "compile"):
        random.shuffle(ids)
    sides = {
        "trainer": trainer,
        "best": best,
        "compile": lambda *rest: best(*rest, compiled=True),
        "encode": encode,
        "onnx": onnx,
        "onnx-int8": lambda *rest: onnx(*rest, int8=True),
        "torch": bare,
    }
    measured = sides[args.side](args, torch, ids)
    result = {"train": None, "infer": None, "one_ms": None, **measured}
    result.update(side=args.side, peak_mb=peak_mb(), version=f"torch {torch.__version__}, transformers {transformers.__version__}")
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
