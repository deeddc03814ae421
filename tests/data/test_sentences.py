"""Sentences: how they become codes, the named data sets, and one's own file with everything that can be wrong in it."""

import gzip
import json

import numpy as np
import pytest

from minivae.data import (
    DataError,
    HiddenSentenceLabels,
    hold_out,
    load,
    load_own_sentences,
    load_sentences,
    load_sst2,
    load_trec,
    words_of,
)
from minivae.data.sentences import load_text
from minivae.evaluation import bag_of_words, naive_bayes, some_labels
from minivae.parts.sentences import END, PAD, UNKNOWN
from minivae.training.buckets import in_buckets

LINES = ["good\ta good film", "bad\ta bad film .", "good\tgood , good !", "bad\tnot a film"] * 5


def own(tmp_path, content, name="mine.tsv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(("text", "words"), [
    ("It's GOOD, isn't it?", "it's good , isn't it ?"), ("re-imagining of 1930s ...", "re-imagining of 1930s ..."),
    ("wo n't , 's , -lrb- x -rrb-", "wo n't , 's , - lrb - x - rrb -"), ("Amélie: 20%", "amélie : 20 %"), ("\t ", "")])
def test_words(text, words):
    assert " ".join(words_of(text)) == words


def test_words_become_codes(tmp_path):
    data = load_own_sentences(own(tmp_path, "\n".join(LINES)))
    assert data.classes == ("bad", "good")
    assert data.vocabulary[3:] == ("good", "a", "film", *data.vocabulary[6:])        # most frequent first
    assert (len(data.rows["train"]), len(data.rows["test"])) == (18, 2)
    few = data.coded(2, 4)
    x = few.codes([("good", "a"), ("a", "dull", "a", "good", "a"), ()])
    np.testing.assert_array_equal(x, [[3, 4, END, PAD], [4, UNKNOWN, 4, 3], [END, PAD, PAD, PAD]])
    assert few.text(x[1]) == "a ⟨unknown⟩ a good"
    part = few.part("train")
    np.testing.assert_array_equal(part.lengths, (part.x != PAD).sum(axis=1))
    with pytest.raises(ValueError, match="no part 'valid'"):
        few.part("valid")
    again = data.coded(2, 4, few.vocabulary[::-1])
    assert again.vocabulary == few.vocabulary[::-1]


@pytest.mark.parametrize(("content", "says"), [
    ("", "is empty"), ("\n \n", "is empty"), ("a\tb\nno tab here\n", "line 2 has no tab"),
    ("a\tb\n\na\t  \n", "line 3 has no word"), ("\tx\n", "line 1 has no label"),
    (b"a\tb\nb\t\xff\xfe\n", "line 2 is not UTF-8"), ("a\tb\na\tc\n", "all 2 sentences have the label 'a'")])
def test_a_file_with_a_mistake_says_where(tmp_path, content, says):
    with pytest.raises(DataError, match=says):
        load_sentences(own(tmp_path, content))


def test_windows_files_are_read_too(tmp_path):
    data = load_own_sentences(own(tmp_path, b"\xef\xbb\xbf" + "\r\n".join(LINES).encode()))
    assert data.classes == ("bad", "good")


def test_a_class_that_is_all_in_the_test_part_is_refused(tmp_path):
    held = int(hold_out(10, 1)[1][0])                  # the one that is held out
    lines = ["bad\tno film" if i == held else "good\ta film" for i in range(10)]
    with pytest.raises(DataError, match="no sentence of 'bad' is left to learn from, all 1 are test sentences"):
        load_own_sentences(own(tmp_path, "\n".join(lines)))


def test_images_and_sentences_are_not_taken_for_each_other(tmp_path):
    assert load_sentences("digits") is None
    with pytest.raises(DataError, match="sentences: load_sentences loads it"):
        load(own(tmp_path, "a\tb"))
    with pytest.raises(ValueError, match="load_sst2"):
        load("sst2")
    with pytest.raises(DataError, match="no such file"):
        load_sentences(tmp_path / "none.tsv")


def test_the_authors_files_and_ours_are_the_same(tmp_path):
    """TREC: lines of a number and a question, in Latin-1; and JSON."""
    asked = [("DESC", "What is café ?"), ("NUM", "How many ?"), ("LOC", "Where ?")]
    (tmp_path / "train").write_bytes("\n".join(["0 What is café ?", "5 How many ?", "4 Where ?"]).encode("latin-1"))
    (tmp_path / "test").write_bytes(b"5 How many ?\n")
    rows = [{"split": "train", "label": label, "text": text} for label, text in asked]
    rows.append({"split": "test", "label": "NUM", "text": "How many ?"})
    with gzip.open(tmp_path / "all.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(map(json.dumps, rows)))
    theirs, ours = load_text("trec", [tmp_path / "train", tmp_path / "test"]), load_text("trec", [tmp_path / "all.gz"])
    assert theirs.rows == ours.rows
    for part in ("train", "test"):
        np.testing.assert_array_equal(theirs.labels[part], ours.labels[part])
    (tmp_path / "all.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="not a complete file"):
        load_text("trec", [tmp_path / "all.gz"])


@pytest.mark.parametrize(("loader", "sizes", "classes"), [
    (load_sst2, (6920, 1821, 872), 2), (load_trec, (5452, 500), 6)])
def test_the_named_ones(loader, sizes, classes):
    try:
        data = loader()
    except DataError as error:
        pytest.skip(f"not here: {error}")
    assert sorted(map(len, data.rows.values())) == sorted(sizes)
    assert len(data.classes) == classes == len(np.unique(data.train_labels)) == len(np.unique(data.test_labels))
    assert len(data.vocabulary) == 3003
    assert data.part("train").x.shape == (sizes[0], 30)


# labels, buckets, rivals that need no network

def test_labels_are_drawn_and_each_class_has_one():
    y = np.repeat([0, 1, 2], [90, 9, 1])
    for seed in range(5):
        kept = some_labels(y, 10, seed=seed)
        assert len(np.unique(kept)) == 10
        assert set(y[kept]) == {0, 1, 2}
    assert len(some_labels(y, 100)) == 100
    with pytest.raises(ValueError, match="count: got 2, expected 3"):
        some_labels(y, 2)


def test_hidden_labels_tell_lengths(tmp_path):
    part = load_own_sentences(own(tmp_path, "\n".join(LINES))).part("train")
    told = HiddenSentenceLabels(4, seed=1).ask(part)
    assert told.names == ("x", "labelled", "labels", "lengths")
    assert len(told) == 14
    np.testing.assert_array_equal(told.lengths, (told.x != PAD).sum(axis=1))
    with pytest.raises(ValueError, match="labels: got 18 of 18 sentences"):
        HiddenSentenceLabels(18).ask(part)


@pytest.mark.parametrize(("n", "size"), [(103, 10), (10, 10), (7, 10), (1000, 8)])
def test_buckets_hold_every_row_once_and_lengths_that_are_near(n, size):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 30, n)
    rows = rng.permutation(n)
    order = in_buckets(rows, lengths, size, rng)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    whole = n // size * size
    np.testing.assert_array_equal(order[whole:], rows[whole:])
    if whole > 20:
        spread = np.ptp(lengths[order[:whole]].reshape(-1, size), axis=1).mean()
        assert spread < 0.4 * np.ptp(lengths[rows[:whole]].reshape(-1, size), axis=1).mean()


def test_naive_bayes_by_hand():
    """Two words; class 0 has used them 3 and 1 times, class 1 once and twice; one added to each."""
    x = np.array([[2.0, 1.0], [1.0, 0.0], [1.0, 2.0]])
    predict = naive_bayes(x, np.array([0, 0, 1]), classes=2)
    log = np.log(np.array([[3 / 5 * 4 / 6, 2 / 5 * 2 / 5], [3 / 5 * 2 / 6, 2 / 5 * 3 / 5]]))
    np.testing.assert_array_equal(predict(np.eye(2)), log.argmax(axis=1))
    with pytest.raises(ValueError, match=r"add: got 0\.0"):
        naive_bayes(x, np.array([0, 0, 1]), classes=2, add=0.0)


def test_a_bag_forgets_the_order():
    np.testing.assert_array_equal(bag_of_words(np.array([[2, 2, 1], [1, PAD, PAD]]), 4), [[0, 1, 2, 0], [0, 1, 0, 0]])
