"""The sampler on tiny made-up genomes: python3 -m unittest discover tests/training"""

import contextlib
import gzip
import importlib.util
import io
import random
import tempfile
import unittest
from collections import Counter
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "training" / "sample.py"
spec = importlib.util.spec_from_file_location("sample", SCRIPT)
sample = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sample)

# source|accession, category, genus, tier, length
RECORDS = [
    ("a|phage1", "phage", "V:one", "A-permissive", 4000),
    ("a|phage2", "phage", "V:two", "C-noncommercial", 1000),
    ("b|rna", "RNA", "V:three", "B-copyleft", 2000),
    ("c|coli:1-5000", "bacteria", "Escherichia", "A-permissive", 5000),
    ("c|pcoli", "plasmid", "Escherichia", "A-permissive", 1500),
    ("d|asp", "eukaryota", "Aspergillus", "B-copyleft", 1500),
    ("d|mouse", "eukaryota", "Mus", "D-unstated", 1500),
]


def bases(length, seed):
    chance = random.Random(seed).random
    return "".join("ACGT"[int(chance() * 4)] for _ in range(length))


class Sampler(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.genomes = self.folder / "genomes"
        self.records = {record[0]: bases(record[4], seed) for seed, record in enumerate(RECORDS)}
        self.write_genomes()

    def write_genomes(self):
        for split in ("train", "valid"):
            (self.genomes / split).mkdir(parents=True, exist_ok=True)
        with gzip.open(self.genomes / "train" / "all.fna.gz", "wt") as file:
            for record_id, category, *_ in RECORDS:
                file.write(f">{record_id} Some organism [group=x] [cat={category}] [split=train]\n")
                text = self.records[record_id]
                file.writelines(text[at : at + 80].lower() + "\n" for at in range(0, len(text), 80))
        with gzip.open(self.genomes / "sources.tsv.gz", "wt") as file:
            file.write("record_id\tlicence_tier\tgenus_key\n")
            file.writelines(f"{record_id}\t{tier}\t{genus}\n" for record_id, _, genus, tier, _ in RECORDS)

    def run_script(self, *words):
        said, complaint = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaint):
            status = sample.main([str(word) for word in words])
        return status, said.getvalue(), complaint.getvalue()

    def draw(self, *options, number=300, name="out.fa"):
        """Headers, sequences and labels of windows."""
        fasta, labels = self.folder / name, self.folder / f"{name}.tsv"
        words = ["windows", self.genomes, "--number", number, "--fasta", fasta, "--labels", labels, *options]
        status, _, complaint = self.run_script(*words)
        self.assertEqual((status, complaint), (0, ""))
        return self.read(fasta, labels)

    def read(self, fasta, labels):
        found = list(sample.fasta(str(fasta)))
        header, *rows = [line.split("\t") for line in labels.read_text().splitlines()]
        self.assertEqual(header, ["sequence", "label", "group", "category"])
        self.assertEqual([name.split()[0] for name, _ in found], [row[0] for row in rows])
        return found, rows

    def test_windows_are_pieces_of_the_record_that_their_header_names(self):
        strands = Counter()
        for header, window in self.draw()[0]:
            record_id, place = header.split()[1].rsplit(":", 1)
            start, end = map(int, place[:-1].split("-"))
            piece = self.records[record_id][start - 1 : end]
            strands[place[-1]] += 1
            self.assertEqual(window, piece if place[-1] == "+" else sample.reverse_complement(piece))
        self.assertGreater(min(strands["+"], strands["-"]), 100)

    def test_labels_name_class_genus_and_category(self):
        known = {(genus, sample.category_of(f"x [cat={category}]", genus)) for _, category, genus, *_ in RECORDS}
        _, rows = self.draw()
        self.assertEqual({(row[2], row[3]) for row in rows}, known)
        for _, label, _, category in rows:
            self.assertEqual(label, "virus" if category in ("phage", "RNA") else "others")

    def test_classes_are_balanced_and_categories_have_their_weights(self):
        _, rows = self.draw(number=4000)
        self.assertAlmostEqual(Counter(row[1] for row in rows)["virus"], 2000, delta=150)
        categories = Counter(row[3] for row in rows)
        self.assertAlmostEqual(categories["phage"] / categories["RNA"], 40 / 28, delta=0.2)
        self.assertAlmostEqual(categories["bacteria"], 2000 * 49 / 89, delta=120)

    def test_a_genus_weighs_as_the_root_of_its_bases(self):
        _, rows = self.draw("--lengths", "100", number=4000)
        genera = Counter(row[2] for row in rows)
        self.assertAlmostEqual(genera["V:one"] / genera["V:two"], 2, delta=0.3)

    def test_a_seed_gives_the_same_bytes_and_another_seed_others(self):
        def drawn(seed, name):
            self.draw("--seed", seed, name=name)
            return (self.folder / name).read_bytes(), (self.folder / f"{name}.tsv").read_bytes()

        first = drawn(5, "first.fa.gz")
        self.assertEqual(first, drawn(5, "again.fa.gz"))
        self.assertNotEqual(first, drawn(6, "other.fa.gz"))

    def test_the_draw_of_a_seed_stays_what_it_is(self):
        found, _ = self.draw(number=3)
        expected = ["w0000000 b|rna:1109-1408+", "w0000001 a|phage2:313-612+", "w0000002 b|rna:1410-1909-"]
        self.assertEqual([header for header, _ in found], expected)

    def test_lengths_have_their_shares(self):
        found, _ = self.draw("--lengths", "500:0.5,150:0.25,200-300:0.25", number=2000)
        lengths = Counter(len(window) for _, window in found)
        self.assertAlmostEqual(lengths.pop(500), 1000, delta=100)
        self.assertAlmostEqual(lengths.pop(150), 500, delta=80)
        self.assertTrue(set(lengths) <= set(range(200, 301)))
        self.assertEqual((min(lengths), max(lengths)), (200, 300))

    def test_the_default_lengths_are_those_of_reads_and_contigs(self):
        lengths = {len(window) for _, window in self.draw(number=1000)[0]}
        self.assertTrue({150, 300, 500} <= lengths)
        self.assertEqual((min(lengths), max(lengths)), (150, 500))

    def test_contigs_spread_over_the_range_and_short_records_are_taken_whole(self):
        found, _ = self.draw("--contigs", "1200-4000", number=500)
        lengths = [len(contig) for _, contig in found]
        self.assertLessEqual(max(lengths), 4000)
        self.assertTrue(1200 <= min(lengths) < 1300)
        names = " ".join(header for header, _ in found)
        self.assertIn("c|pcoli:1-1500", names)
        self.assertNotIn("phage2", names)

    def test_categories_and_tiers_can_be_left_out(self):
        _, rows = self.draw("--without", "plasmid", "other_euk", "--without-tier", "C")
        self.assertEqual({row[3] for row in rows}, {"phage", "RNA", "bacteria", "fungi"})
        self.assertNotIn("V:two", {row[2] for row in rows})

    def test_windows_with_other_letters_are_drawn_again(self):
        for record_id in ("a|phage1", "c|coli:1-5000"):
            text = self.records[record_id]
            self.records[record_id] = "N" * 600 + text[600:1500] + "N" + text[1501:]
        self.write_genomes()
        windows = [window for _, window in self.draw("--lengths", "100")[0]]
        self.assertEqual(max(window.count("N") for window in windows), 1)

    def test_fragments_keep_their_middle_and_find_their_genus_on_either_strand(self):
        fragments = self.folder / "fragments.fa"
        phage, coli = self.records["a|phage1"][100:600], self.records["c|coli:1-5000"][700:1200]
        fragments.write_text(
            f">t1|viral|phage|a\n{phage}\n>t2|nonviral|bacteria|c\n{sample.reverse_complement(coli)}\n"
        )
        fasta, labels = self.folder / "middle.fa", self.folder / "middle.tsv"
        words = ["fragments", fragments, "--length", 300, "--genomes", self.genomes, "--split", "train"]
        self.assertEqual(self.run_script(*words, "--fasta", fasta, "--labels", labels)[0], 0)
        found, rows = self.read(fasta, labels)
        self.assertEqual(found[0][1], phage[100:400])
        self.assertEqual(rows[0], ["t1", "virus", "V:one", "phage"])
        self.assertEqual(rows[1], ["t2", "others", "Escherichia", "bacteria"])

    def complaint(self, *options):
        fasta, labels = self.folder / "x.fa", self.folder / "x.tsv"
        words = ["windows", self.genomes, "--number", 5, "--fasta", fasta, "--labels", labels, *options]
        status, _, complaint = self.run_script(*words)
        self.assertEqual(status, 1)
        return complaint

    def test_what_cannot_be_drawn_is_told(self):
        self.assertIn("'5oo' is not a length", self.complaint("--lengths", "5oo"))
        self.assertIn("'500-300' is not a length", self.complaint("--lengths", "500-300"))
        self.assertIn("no window of these lengths", self.complaint("--lengths", "9000"))
        self.assertIn("no records of class 'virus'", self.complaint("--without", "phage", "RNA"))
        self.assertIn("no FASTA files", self.complaint("--split", "valid"))
        self.assertIn("all zero", self.complaint("--lengths", "500:0"))

    def test_a_record_without_a_source_is_told(self):
        with gzip.open(self.genomes / "train" / "more.fna.gz", "wt") as file:
            file.write(">z|unknown Some organism [group=viral] [cat=phage]\nACGT\n")
        self.assertIn("record 'z|unknown' is not in sources.tsv.gz", self.complaint())


if __name__ == "__main__":
    unittest.main()
