"""The programs that are compared. Each embeds a list of sequences: `vectors` gives [N, D] for the check, `cost` measures
the same work in seconds of the clock and of processors."""

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet
import random_weights
import torch
from mosaic_bert import MosaicBert
from safetensors.torch import load_file
from tokenizers import Tokenizer

# fair-esm's own default, and sizes at which a processor's caches still hold a batch.
BATCH_TOKENS = (512, 1024, 4096)
SHORT = 10
# Least cosine of esm-cpp's logits in a batch with those of one sequence.
BATCHED_COSINE = 0.999


# What `spent` gives.
CLOCK, PROCESSOR = 0, 1


def spent():
    """Seconds of the clock, and of processors by this process and the children that it has waited for."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return np.array([time.perf_counter(), sum(each.ru_utime + each.ru_stime for each in usage)])


class Virnucpro:
    """The executable: `embed-esm` or `embed-dnabert`, whole process."""

    ours = True
    batch_tokens = None

    def __init__(self, options, shape, dtype):
        self.name = f"virnucpro {dtype}"
        self.stage = f"embed-{shape.family}"
        self.bundle = random_weights.bundle(shape, options.folder, options.binary)
        self.settings = ["--dtype", dtype, "--threads", str(options.threads), "--device", "cpu", "--quiet"]
        self.binary = options.binary
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("VIRNUCPRO_")}

    def run(self, sequences, folder):
        """Cost from start to end of the process; vectors are in `folder`."""
        fasta = Path(folder) / "frames.fa"
        fasta.write_text("".join(f">{number}\n{sequence}\n" for number, sequence in enumerate(sequences)))
        command = [self.binary, self.stage, fasta, "-o", Path(folder) / "out", "--model", self.bundle, *self.settings]
        before = spent()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=self.environment)
        return spent() - before

    def vectors(self, sequences):
        with tempfile.TemporaryDirectory() as folder:
            self.run(sequences, folder)
            table = pyarrow.parquet.read_table(next((Path(folder) / "out").glob("*.parquet")))
        rows = sorted(zip(map(int, table["id"].to_pylist()), table["embedding"].to_pylist()))
        return np.array([vector for _, vector in rows])

    def cost(self, sequences):
        """Without start and loading, which a run on one short sequence takes as well. The one place our figure is from."""
        with tempfile.TemporaryDirectory() as folder:
            whole = self.run(sequences, folder)
        with tempfile.TemporaryDirectory() as folder:
            loading = self.run([sequences[0][:SHORT]], folder)
        return whole - loading


class InProcess:
    """A program that is called from Python, with its weights loaded."""

    ours = False
    batch_tokens = None

    def choose_batch(self, sequences):
        """Takes the cheapest of the batch sizes: whoever uses a program for long would find it."""
        trials = {}
        for self.batch_tokens in BATCH_TOKENS:
            trials[self.batch_tokens] = self.cost(sequences)[PROCESSOR]
        self.batch_tokens = min(trials, key=trials.get)

    def cost(self, sequences):
        before = spent()
        self.embed(sequences)
        return spent() - before

    def vectors(self, sequences):
        self.batch_tokens = BATCH_TOKENS[-1]
        return self.embed(sequences)


class Torch(InProcess):
    """In bf16 as everybody has it in PyTorch, by autocast."""

    def __init__(self, dtype):
        self.dtype = dtype
        # Never the outermost context again, which would throw the converted weights away after each pass.
        torch.autocast_increment_nesting()

    def embed(self, sequences):
        low = torch.autocast("cpu", torch.bfloat16) if self.dtype == "bf16" else contextlib.nullcontext()
        with torch.no_grad(), low:
            return self.pooled(sequences)


class FairEsm(Torch):
    """fair-esm's ESM2 as its extract.py runs it: sorted, padded batches of a number of tokens."""

    def __init__(self, options, shape, dtype):
        super().__init__(dtype)
        import esm

        self.name = f"fair-esm {dtype}"
        self.library = esm
        self.model = esm.ESM2(shape.layers, shape.width, shape.heads).eval()
        state = load_file(random_weights.checkpoint(shape, options.folder) / "model.safetensors")
        state = {fair_esm_name(name): value for name, value in state.items()}
        missing, unexpected = self.model.load_state_dict(state, strict=False)
        # The heads for letters and contacts do not touch hidden states; the letters' weights are the embedding's.
        rest = [name for name in missing if not name.startswith("contact_head.") and name != "lm_head.weight"]
        assert not rest and not unexpected, (rest, unexpected)
        self.converter = self.model.alphabet.get_batch_converter()

    def pooled(self, sequences):
        data = self.library.FastaBatchedDataset([str(number) for number in range(len(sequences))], sequences)
        last, pooled = self.model.num_layers, [None] * len(sequences)
        for batch in data.get_batch_indices(self.batch_tokens, extra_toks_per_seq=2):
            _, _, tokens = self.converter([data[number] for number in batch])
            states = self.model(tokens, repr_layers=[last])["representations"][last]
            for row, number in enumerate(batch):
                pooled[number] = states[row, 1 : len(sequences[number]) + 1].float().mean(0).numpy()
        return np.stack(pooled)


def fair_esm_name(name):
    """Of a tensor that Hugging Face calls `name`."""
    for theirs, fair in (
        ("esm.embeddings.word_embeddings.", "embed_tokens."),
        ("esm.encoder.emb_layer_norm_after.", "emb_layer_norm_after."),
        ("esm.encoder.layer.", "layers."),
        ("attention.self.rotary_embeddings.", "self_attn.rot_emb."),
        ("attention.self.query.", "self_attn.q_proj."),
        ("attention.self.key.", "self_attn.k_proj."),
        ("attention.self.value.", "self_attn.v_proj."),
        ("attention.output.dense.", "self_attn.out_proj."),
        ("attention.LayerNorm.", "self_attn_layer_norm."),
        (".LayerNorm.", ".final_layer_norm."),
        ("intermediate.dense.", "fc1."),
        ("output.dense.", "fc2."),
    ):
        name = name.replace(theirs, fair)
    return name


class PlainDnabert(Torch):
    """mosaic_bert.py on sorted, padded batches."""

    def __init__(self, options, shape, dtype):
        super().__init__(dtype)
        self.name = f"plain PyTorch {dtype}"
        folder = random_weights.checkpoint(shape, options.folder)
        self.model = MosaicBert(
            load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
        )
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def pooled(self, sequences):
        ids = [torch.tensor(tokens.ids) for tokens in self.tokenizer.encode_batch(sequences)]
        pooled = [None] * len(ids)
        for batch in sorted_batches([len(row) for row in ids], self.batch_tokens):
            rows = torch.nn.utils.rnn.pad_sequence(
                [ids[number] for number in batch], batch_first=True, padding_value=-1
            )
            real = rows >= 0
            for number, vector in zip(batch, self.model.pooled(rows.clamp(min=0), real)):
                pooled[number] = vector.numpy()
        return np.stack(pooled)


class EsmCpp(InProcess):
    """esm-cpp, `f32` or `int8` by its own SmoothQuant. Its batches give logits only: that is what is timed, and vectors
    come from its call for one sequence."""

    def __init__(self, options, shape, dtype):
        os.environ["ESM_NUM_THREADS"] = str(options.threads)  # read when the first model is loaded
        import esm_cpp

        self.name = f"esm-cpp {dtype}"
        self.tokenizer = esm_cpp.Tokenizer()
        self.model = esm_cpp.Model.load_from_safetensors(
            str(random_weights.checkpoint(shape, options.folder) / "model.safetensors")
        )
        assert esm_cpp.Model.num_threads == options.threads
        if dtype == "int8":
            observer = esm_cpp.ActivationObserver()
            for sequence in options.calibration:
                self.model.forward_with_observer(self.tokens(sequence), None, observer)
            self.model.apply_smoothquant(observer.percentile(99.9), 0.5)  # both as its own quantize.py has them
            self.model.quantize_weights()

    def tokens(self, sequence):
        return np.array(self.tokenizer.encode(sequence), np.int32)

    def embed(self, sequences):
        ids = [self.tokens(sequence) for sequence in sequences]
        logits = [None] * len(ids)
        for batch in sorted_batches([len(row) for row in ids], self.batch_tokens):
            for number, rows in zip(batch, self.model.forward_scheduled([ids[number] for number in batch])):
                logits[number] = rows
        return logits

    def vectors(self, sequences):
        vectors, logits = [], []
        for sequence in sequences:
            rows, states = self.model.forward_with_hidden_states(self.tokens(sequence))
            logits.append(rows)
            vectors.append(states[-1][1:-1].mean(0))
        self.batch_tokens = BATCH_TOKENS[-1]
        # In int8 they differ a little: its activations are scaled by the largest of a batch.
        for alone, batched in zip(logits, self.embed(sequences)):
            cosine = float(cosines(alone.reshape(1, -1), batched.reshape(1, -1))[0])
            if not cosine >= BATCHED_COSINE:
                sys.exit(
                    f"{self.name}: logits of a batch have a cosine of {cosine:.6f} with those of a single sequence"
                )
        return np.stack(vectors)


def cosines(ours, theirs):
    """Of each row with its counterpart."""
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return (ours * theirs).sum(1) / norms


def sorted_batches(lengths, budget):
    """Indices in batches of at most `budget` tokens, padding included, or of one sequence."""
    batch = []
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[number] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(number)
    yield batch
