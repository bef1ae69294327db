//! Keeps docs/behaviours.md true: each row that a test names is explained there, once, in ascending order.

use std::{collections::BTreeSet, fs, path::Path};

/// A row by its kind and number: `B31`, or a decision, `V3`.
type Row = (char, u16);

#[test]
fn every_row_that_a_test_names_is_explained() {
    let explained: BTreeSet<_> = tables().concat().into_iter().collect();
    let mut named = BTreeSet::new();
    for (file, text) in ["tests", "src", "docs", "README.md"].iter().flat_map(|path| texts(&root().join(path))) {
        for row in rows_of(&text) {
            assert!(explained.contains(&row), "{file}: {}{} is no row of docs/behaviours.md", row.0, row.1);
        }
        if file.ends_with(".rs") {
            named.extend(text.lines().filter(|line| line.trim_start().starts_with("///")).flat_map(rows_of));
        }
    }
    assert!(named.len() > 150, "only {} rows are named: what the tests say was not found", named.len());
}

#[test]
fn no_name_begins_with_a_row() {
    for (file, text) in ["tests", "src"].iter().flat_map(|path| texts(&root().join(path))) {
        let names = text.split("fn ").skip(1).filter_map(|name| name.split('(').next());
        let named: Vec<_> = names.filter(|name| begins_with_row(name)).collect();
        assert!(named.is_empty(), "{file}: rows stand in the comment of a test, and not in its name: {named:?}");
    }
    for (name, expected) in [("b31_a_server", true), ("v3_b4", true), ("bind_2", false), ("b", false)] {
        assert_eq!(begins_with_row(name), expected, "{name}");
    }
}

#[test]
fn no_row_is_explained_more_than_once() {
    let mut seen = BTreeSet::new();
    for row in tables().concat() {
        assert!(seen.insert(row), "docs/behaviours.md explains {}{} a second time", row.0, row.1);
    }
}

#[test]
fn the_rows_of_each_table_ascend() {
    for table in tables() {
        assert!(table.is_sorted(), "a table of docs/behaviours.md is out of order: {table:?}");
    }
}

#[test]
fn rows_are_found_in_texts() {
    let text = "(B7): B8, B10-B12 V1; B1x AB2 B_3 b4 B<n>";
    assert_eq!(rows_of(text), [('B', 7), ('B', 8), ('B', 10), ('B', 11), ('B', 12), ('V', 1)]);
}

/// The rows of each table of docs/behaviours.md that has any.
fn tables() -> Vec<Vec<Row>> {
    let page = fs::read_to_string(root().join("docs/behaviours.md")).unwrap();
    let tables: Vec<_> = page.split("\n\n").map(|part| part.lines().filter_map(first_cell).collect()).collect();
    tables.into_iter().filter(|rows: &Vec<_>| !rows.is_empty()).collect()
}

fn first_cell(line: &str) -> Option<Row> {
    row(line.strip_prefix("| ")?.split_once(" |")?.0, ['B', 'V'])
}

/// Whether a function is named by the rows that it shows, as `b31_` is.
fn begins_with_row(name: &str) -> bool {
    name.split_once('_').is_some_and(|(word, _)| row(word, ['b', 'v']).is_some())
}

/// The rows that a text names as `B31`; `B44-B49` is all from the first to the last.
fn rows_of(text: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut before = None;
    for word in text.split_inclusive(ends_word) {
        let found = row(word.trim_end_matches(ends_word), ['B', 'V']);
        match (before, found) {
            (Some((kind, first)), Some((_, last))) => rows.extend((first + 1..=last).map(|number| (kind, number))),
            _ => rows.extend(found),
        }
        before = found.filter(|_| word.ends_with('-'));
    }
    rows
}

fn ends_word(c: char) -> bool {
    c != '_' && !c.is_alphanumeric()
}

/// A row whose kind is written as one of two letters.
fn row(word: &str, kinds: [char; 2]) -> Option<Row> {
    let kind = word.chars().next().filter(|kind| kinds.contains(kind))?;
    let digits = word[1..].bytes().all(|byte| byte.is_ascii_digit());
    Some((kind.to_ascii_uppercase(), word[1..].parse().ok().filter(|_| digits)?))
}

/// A file, or the sources and pages below a directory: path and content.
fn texts(path: &Path) -> Vec<(String, String)> {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().flat_map(|entry| texts(&entry.unwrap().path())).collect();
    }
    let is_text = path.extension().is_some_and(|extension| extension == "rs" || extension == "md");
    is_text.then(|| (path.display().to_string(), fs::read_to_string(path).unwrap())).into_iter().collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
