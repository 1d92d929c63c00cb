# The sample sheet: which files each sample has. What is wrong with it is said in one line, before any job.
import csv
import re

FILE_COLUMNS = ["file", "fasta", "fastq_1", "fastq_2"]


def samples_of(sheet):
    """Files by sample, from a table with the columns `sample` and `fasta` (or `file`), or `fastq_1` and `fastq_2`."""
    samples = {}
    for line, row in rows_of(sheet):
        name, files = checked(row, f"{sheet}, line {line}")
        known = samples.setdefault(name, [])
        for file in files:
            path = placed(file, Path(sheet).parent)
            if Path(path).resolve() in [Path(other).resolve() for other in known]:
                raise WorkflowError(
                    f"{sheet}, line {line}: {file} is listed twice for {name}: its sequences would count twice"
                )
            known.append(path)
    if not samples:
        raise WorkflowError(f"{sheet} lists no samples")
    for name, files in samples.items():
        for file in files:
            if not Path(file).exists():
                logger.warning(
                    f"sample {name}: {file} is not there; this sample will fail"
                )
    return samples


def rows_of(sheet):
    """Pairs of line number and row; cells are without blanks around them, empty cells are left out."""
    if not Path(sheet).is_file():
        raise WorkflowError(
            f"{sheet}: no such sample sheet; name one with the setting `input`"
        )
    try:
        text = Path(sheet).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise WorkflowError(
            f"{sheet} is not UTF-8: save it as UTF-8, or `iconv -f latin1 -t utf-8`"
        )
    separator = "\t" if sheet.lower().endswith(".tsv") else ","
    lines = csv.reader(text.splitlines(), delimiter=separator)
    columns = [cell.strip() for cell in next(lines, [])]
    if columns:
        check_columns(columns, sheet)
    for cells in lines:
        cells = [cell.strip() for cell in cells]
        if any(cells[len(columns) :]):
            raise WorkflowError(
                f"{sheet}, line {lines.line_num}: more cells than columns"
            )
        if any(cells):
            yield lines.line_num, {
                column: cell for column, cell in zip(columns, cells) if cell
            }


def check_columns(columns, sheet):
    named = [column for column in columns if column]
    if len(set(named)) < len(named):
        raise WorkflowError(f"{sheet}, line 1: a column twice: {', '.join(columns)}")
    if "sample" not in columns or not set(FILE_COLUMNS) & set(columns):
        raise WorkflowError(
            f"{sheet}, line 1: expected the columns sample,fasta or sample,fastq_1,fastq_2; found {', '.join(columns)}"
        )


def checked(row, place):
    """Name and files of a row."""
    files = [row[column] for column in FILE_COLUMNS if column in row]
    if "sample" not in row:
        raise WorkflowError(f"{place}: no sample")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]*", row["sample"]):
        raise WorkflowError(
            f"{place}: {row['sample']} names a folder: use letters, digits and . _ - +, the first a letter, digit or _"
        )
    if not files:
        raise WorkflowError(f"{place}: no file")
    if "fastq_2" in row and "fastq_1" not in row:
        raise WorkflowError(f"{place}: fastq_2 without fastq_1")
    return row["sample"], files


def placed(file, folder):
    """A path of the sheet starts at the sheet's folder, or else at the working folder."""
    beside = folder / file
    return str(beside) if beside.exists() else file
