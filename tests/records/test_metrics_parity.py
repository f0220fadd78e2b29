"""Output files as other teams write them score as the Challenge defines it, to the character.

The definition stands here once more, told by loops over the files' text: nothing of the package's
reading and scoring is used, so that a slip there cannot hide in both.
"""

import csv
import math
import random
from pathlib import Path

from evaluate_model import evaluate_model, format_class_scores, format_scores

WEIGHTS_FILE = Path(__file__).parents[2] / "weights.csv"
SINUS_RHYTHM = "426783006"


# The definition, step by step.


def defined_figures(label_folder, output_folder):
    """The five figures by name, and the rows of figures of the 26 classes by name."""
    groups, weights = read_rewards()
    labels, outputs, probabilities = [], [], []
    for header in sorted(label_folder.rglob("*.hea"), key=lambda path: path.stem):
        dx = read_diagnoses(header)
        columns = read_columns(output_folder / f"{header.stem}.csv")
        answers = [answer(columns, group) for group in groups]
        labels.append([any(code in dx for code in group) for group in groups])
        outputs.append([positive for positive, _ in answers])
        probabilities.append([probability for _, probability in answers])
    auroc, auprc, f_measures = [], [], []
    for k in range(len(groups)):
        label, output, probability = (
            [row[k] for row in table] for table in (labels, outputs, probabilities)
        )
        areas = areas_under_curves(label, probability)
        auroc.append(areas[0])
        auprc.append(areas[1])
        f_measures.append(f_measure(label, output))
    n_right = 0
    for label, output in zip(labels, outputs, strict=True):
        if label == output:
            n_right += 1
    summary = {
        "AUROC": macro_mean(auroc),
        "AUPRC": macro_mean(auprc),
        "Accuracy": n_right / len(labels),
        "F-measure": macro_mean(f_measures),
        "Challenge metric": challenge_metric(labels, outputs, groups, weights),
    }
    return summary, {"AUROC": auroc, "AUPRC": auprc, "F-measure": f_measures}


def defined_score_text(summary):
    values = ",".join(f"{figure:.3f}" for figure in summary.values())
    return ",".join(summary) + "\n" + values + "\n"


def defined_class_score_text(of_classes):
    groups, _ = read_rewards()
    text = "Classes"
    for group in groups:
        text += "," + "|".join(sorted(group))
    text += "\n"
    for name, figures in of_classes.items():
        text += name
        for figure in figures:
            text += f",{figure:.3f}"
        text += "\n"
    return text


def read_rewards():
    """The codes of each group, and weights[j][k]: the reward for answering k where j is true."""
    with open(WEIGHTS_FILE, newline="") as file:
        header, *rows = csv.reader(file)
    return [name.split("|") for name in header[1:]], [[float(x) for x in row[1:]] for row in rows]


def read_diagnoses(header):
    """The codes of a header's `#Dx` line, in either dialect."""
    for line in header.read_text().splitlines():
        key, _, codes = line.partition(":")
        if key in ("#Dx", "# Dx"):
            return [code.strip() for code in codes.split(",")]
    return []


def read_columns(path):
    """(codes of its name, whether labelled positive, probability) of each column of a file."""
    lines = [*path.read_text().splitlines(), "", "", "", ""]
    names, labels, numbers = (line.split(",") for line in lines[1:4])
    columns = []
    for i, name in enumerate(names):
        label = labels[i].strip() if i < len(labels) else ""
        number = finite_number(numbers[i]) if i < len(numbers) else 0.0
        positive = label in ("True", "true", "T", "t") or finite_number(label) == 1
        columns.append((name.strip().split("|"), positive, number))
    return columns


def finite_number(text):
    """The number, 0 where the text is none."""
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def answer(columns, group):
    """Whether the columns of a group are positive, and their mean probability."""
    any_positive, total, count = False, 0.0, 0
    for codes, positive, probability in columns:
        if any(code in group for code in codes):
            any_positive = any_positive or positive
            total += probability
            count += 1
    return any_positive, total / count if count else 0.0


def areas_under_curves(label, probability):
    """AUROC and AUPRC; NaN where there are no positive records or, the first, no negative ones."""
    n_positive = sum(label)
    n_negative = len(label) - n_positive
    recall, specificity, precision = [0.0], [1.0], [math.nan]
    for threshold in sorted(set(probability), reverse=True):
        answered = [y for y, p in zip(label, probability, strict=True) if p >= threshold]
        true, false = answered.count(True), answered.count(False)
        recall.append(true / n_positive if n_positive else math.nan)
        specificity.append((n_negative - false) / n_negative if n_negative else math.nan)
        precision.append(true / (true + false))
    auroc = auprc = 0.0
    for i in range(1, len(recall)):
        gained = recall[i] - recall[i - 1]
        auroc += 0.5 * gained * (specificity[i] + specificity[i - 1])
        auprc += gained * precision[i]
    return auroc, auprc


def f_measure(label, output):
    true = false = missed = 0
    for y, answered in zip(label, output, strict=True):
        if y and answered:
            true += 1
        elif answered:
            false += 1
        elif y:
            missed += 1
    involved = 2 * true + false + missed
    return 2 * true / involved if involved else math.nan


def macro_mean(figures):
    total, count = 0.0, 0
    for figure in figures:
        if not math.isnan(figure):
            total += figure
            count += 1
    return total / count if count else math.nan


def challenge_metric(labels, outputs, groups, weights):
    sinus_rhythm_alone = [group == [SINUS_RHYTHM] for group in groups]
    observed = reward(labels, outputs, weights)
    correct = reward(labels, labels, weights)
    inactive = reward(labels, [sinus_rhythm_alone] * len(labels), weights)
    return (observed - inactive) / (correct - inactive) if correct != inactive else 0.0


def reward(labels, outputs, weights):
    """The sum of W * A, A[j][k] being 1/n summed over the records with j true and k answered."""
    classes = range(len(weights))
    shares = [[0.0 for _ in classes] for _ in classes]
    for label, output in zip(labels, outputs, strict=True):
        n = max(1, sum(label[k] or output[k] for k in classes))
        for j in classes:
            for k in classes:
                if label[j] and output[k]:
                    shares[j][k] += 1 / n
    total = 0.0
    for j in classes:
        for k in classes:
            total += weights[j][k] * shares[j][k]
    return total


# Random folders, with all that other teams' files are known to hold.

GROUPS = ["|".join(group) for group in read_rewards()[0]]
CODES = [code for group in read_rewards()[0] for code in group]
JOINED = [
    "164909002|733534002",
    "164889003|164890007",  # over two groups, which then both hold the column
    "426783006|59118001|713427006",
    "426783006|999",
    "164934002|164934002",
]
NOT_SCORED = ["164930006", "428750005", "999"]
UNKNOWN = [*NOT_SCORED, "sinus rhythm", "998|999", "NSR", ""]
SPELLINGS = [
    ("1", "0"),
    ("1.0", "0.0"),
    ("True", "False"),
    ("true", "false"),
    ("T", "F"),
    ("t", "f"),
    ("1e0", "0e0"),
    ("+1", "-0"),
    (" 1", " 0"),
    (" True ", " False "),
]
DECIMALS = [f"0.{digit}" for digit in range(10)]
ODD_LABELS = ["nan", "inf", "-inf", "", " ", "yes", "2", "-1", "0.5", "TRUE", "tRUE", "1e0", "'1'"]
ODD_NUMBERS = ["nan", "inf", "-inf", "", " ", "high", "-0.0", "-0.5", "2", "1e999", "5e-324", "50%"]


def write_folders(folder, rng):
    """A folder of one to eight headers and a folder of their output files."""
    labels, outputs = folder / "labels", folder / "outputs"
    outputs.mkdir(parents=True)
    n_records = rng.randint(1, 8)
    # Few diagnoses, so that classes have several positive records.
    diagnoses = rng.sample(CODES, rng.randint(1, 8))
    shared_columns = draw_columns(rng) if rng.random() < 0.5 else None
    accuracy = rng.choice([0.0, 0.6, 0.95, 1.0])
    # The fewer numbers, the more ties, those of means included.
    numbers = rng.choice([None, DECIMALS, rng.sample(DECIMALS, 3)])
    headers, answers = [], []
    for _ in range(n_records):
        dx = rng.sample(diagnoses, rng.randint(0, min(3, len(diagnoses))))
        headers.append(draw_header(rng, dx))
        if answers and rng.random() < 0.3:
            answers.append(add_unknown(rng, rng.choice(answers)))
        else:
            columns = shared_columns or draw_columns(rng)
            answers.append(draw_answers(rng, dx, columns, accuracy, numbers))
    records = list(zip(headers, (draw_output(rng, columns) for columns in answers), strict=True))
    if rng.random() < 0.1:
        records = records[:1] * n_records
    for i, (header, output) in enumerate(records):
        place = labels / rng.choice(["", "g1", "g2/more"])
        place.mkdir(parents=True, exist_ok=True)
        (place / f"R{i}.hea").write_bytes(header.encode())
        (outputs / f"R{i}.csv").write_bytes(output.encode())
    return labels, outputs


def draw_header(rng, dx):
    """A header's text, in one of the two dialects."""
    codes = [*dx, *rng.sample(NOT_SCORED, rng.randint(0, 2))]
    codes += rng.choices([*codes, ""], k=rng.choice([0, 0, 2]))
    rng.shuffle(codes)
    mark, signal = rng.choice([("#", "16+24 1000/mV 16"), ("# ", "16x1+24 1000.0(0)/mV 16")])
    comments = ["Age: 57", "Sex: Female", "Rx: Unknown", "Hx: Unknown"]
    if rng.random() < 0.95:
        comma = rng.choice([",", ",", ", ", ",,"])
        comments.insert(2, f"Dx: {comma.join(codes)}{rng.choice(['', '', ','])}")
    lines = ["R 1 500 5000", f"R.mat {signal} 0 1 2 0 I", *(mark + comment for comment in comments)]
    return join_lines(rng, lines)


def draw_columns(rng):
    """The names of an output file's columns."""
    names = rng.choice([CODES, GROUPS, [*CODES, *JOINED], [*GROUPS, *CODES, *JOINED]])
    if rng.random() < 0.6:
        names = rng.sample(names, rng.choice([1, 4, rng.randint(1, len(names))]))
    names = [*names, *rng.choices(names, k=rng.choice([0, 0, 1, 9]))]
    names += rng.choices(UNKNOWN, k=rng.choice([0, 0, 1, 3]))
    if rng.random() < 0.5:
        rng.shuffle(names)
    space = rng.choice(["", "", "", " "])
    return [space + name for name in names]


def draw_answers(rng, dx, names, accuracy, numbers):
    """(name, label, probability) of each column, as texts.

    accuracy: the share of labels that are not left to chance; numbers: the probabilities to choose
    from, None for any.
    """
    spelling, odd_share = rng.choice(SPELLINGS), rng.choice([0.0, 0.0, 0.1, 0.5])
    mixes_spellings = rng.random() < 0.2
    columns = []
    for name in names:
        present = any(code in dx for code in name.strip().split("|"))
        if rng.random() > accuracy:
            present = rng.random() < 0.3
        if mixes_spellings:
            spelling = rng.choice(SPELLINGS)
        label = spelling[0] if present else spelling[1]
        number = rng.choice(numbers) if numbers else repr(0.5 * present + 0.7 * rng.random())
        if rng.random() < odd_share:
            label = rng.choice(ODD_LABELS)
        if rng.random() < odd_share:
            number = rng.choice(ODD_NUMBERS)
        columns.append((name, label, number))
    return columns


def add_unknown(rng, columns):
    """The same answers, to which unknown columns add nothing."""
    columns = list(columns)
    for _ in range(rng.randint(0, 3)):
        columns.insert(rng.randint(0, len(columns)), (rng.choice(UNKNOWN), "1", "0.5"))
    return columns


def draw_output(rng, columns):
    """The text of an output file of these columns, some of it lacking now and then."""
    names, labels, numbers = (list(row) for row in zip(*columns, strict=True))
    rows = [names, cut(rng, labels, "1"), cut(rng, numbers, "0.9")]
    lines = ["#R", *(",".join(row) for row in rows)]
    n_lines = rng.randint(0, 3) if rng.random() < 0.1 else 4
    return join_lines(rng, lines[:n_lines])


def cut(rng, row, more):
    """The row, sometimes too short or too long."""
    length = len(row) + rng.choice([-3, -1, 1, 2]) if rng.random() < 0.15 else len(row)
    return (row + [more] * 2)[: max(length, 0)]


def join_lines(rng, lines):
    end = rng.choice(["\n", "\n", "\r\n"])
    return end.join(lines) + rng.choice([end, end, ""]) if lines else ""


def test_other_teams_files_score_to_the_character_as_defined(tmp_path):
    for seed in range(1000):
        folders = write_folders(tmp_path / str(seed), random.Random(seed))
        scores = evaluate_model(*folders)
        summary, of_classes = defined_figures(*folders)
        told = f"folders of seed {seed}, in {tmp_path}"
        assert format_class_scores(scores) == defined_class_score_text(of_classes), told
        if not any(map(is_halfway, summary.values())):
            texts = format_scores(scores), defined_score_text(summary)
            ours, defined = (text.replace("-0.000", "0.000") for text in texts)
            assert ours == defined, told


def is_halfway(figure):
    """Whether a figure lies halfway between two numbers of three decimals.

    Then the order in which a mean or the metric adds its terms decides which one is printed, as it
    decides the sign of a zero; the definition leaves that order open.
    """
    return abs(figure * 1000 % 1 - 0.5) < 1e-9
