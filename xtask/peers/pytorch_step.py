"""One training step or forward pass of BertForSequenceClassification in PyTorch, timed.

The other side of `cargo xtask bench cpu`: it does the work of `topwork bench-step` and prints one JSON line per
case, `{"case": ..., "seconds": [...], "peak_mb": ..., "version": ...}`. One process measures one case, so that the
peak memory belongs to it. Sequences have full length: nothing is gained on either side by leaving padding out.
"""

import argparse
import json
import os
import resource
import time

SHAPES = {
    "base": dict(num_hidden_layers=12, hidden_size=768, num_attention_heads=12, intermediate_size=3072),
    "minilm": dict(num_hidden_layers=6, hidden_size=384, num_attention_heads=12, intermediate_size=1536),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=sorted(SHAPES), required=True)
    parser.add_argument("--mode", choices=["train", "forward"], required=True)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="bf16 is autocast over f32 weights")
    parser.add_argument("--optimizer", choices=["default", "fused"], default="default", help="which loop of AdamW")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seq", type=int, default=128)
    parser.add_argument("--iters", type=int, default=3, help="measured repetitions")
    parser.add_argument("--warmup", type=int, default=2, help="repetitions before them")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


def peak_mb():
    """The most memory this process has held resident, in MiB."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024
    except (FileNotFoundError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def build(torch, args):
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=30522,
        num_labels=2,
        hidden_dropout_prob=args.dropout,
        attention_probs_dropout_prob=args.dropout,
        attn_implementation="sdpa",
        **SHAPES[args.shape],
    )
    torch.manual_seed(0)
    return BertForSequenceClassification(config)


def main():
    args = arguments()
    # Read when torch is loaded.
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    import torch

    torch.set_num_threads(args.threads)
    model = build(torch, args)
    total = args.batch * args.seq
    ids = torch.tensor([(i * 7919) % 30000 + 100 for i in range(total)]).view(args.batch, args.seq)
    mask = torch.ones_like(ids)
    labels = torch.arange(args.batch) % 2
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.precision == "bf16")

    if args.mode == "train":
        model.train()
        fused = {"fused": True} if args.optimizer == "fused" else {}
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, **fused)

        def step():
            with autocast:
                loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss.item()

    else:
        model.eval()

        def step():
            with torch.inference_mode(), autocast:
                return model(input_ids=ids, attention_mask=mask).logits.sum().item()

    seconds = []
    for i in range(args.warmup + args.iters):
        start = time.perf_counter()
        step()
        if i >= args.warmup:
            seconds.append(time.perf_counter() - start)
    case = f"{args.shape} {args.mode} dropout {args.dropout:g} {args.precision} {args.optimizer}"
    result = {"case": case, "seconds": seconds, "peak_mb": peak_mb(), "version": f"torch {torch.__version__}"}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
