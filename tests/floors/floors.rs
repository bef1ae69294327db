//! Keeps the crate's floors true: imports point down only, rooms make no circle, and the drawing in `docs/architecture.md`
//! names what there is.
//!
//! A room is a folder of `src`, or a file beside the folders.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    parse::Parser as _,
    punctuated::Punctuated,
    visit::{self, Visit},
};

/// The floor of each room. The root, `lib.rs`, stands above all.
const FLOORS: &[(&str, u8)] = &[
    ("limits", 0),
    ("close", 0),
    ("config", 0),
    ("error", 0),
    ("event", 0),
    ("message", 0),
    ("stats", 0),
    ("stopwatch", 0),
    ("sync", 0),
    ("trace", 0),
    ("wire", 1),
    ("protocol", 2),
    ("connection", 3),
    ("handshake", 3),
    ("proxy", 3),
    ("transport", 3),
    ("client", 4),
    ("outbox", 4),
    ("task", 4),
    ("fuzzing", 4),
    ("byte_stream", 4),
    ("message_reader", 4),
    ("split", 4),
    ("message_writer", 4),
    ("stream", 4),
    ("upgrade", 4),
    ("upgraded", 4),
    ("compat", 5),
    ("reconnect", 6),
    ("guide", 6),
];

/// In this folder a file does not know its siblings: only `mod.rs` ties them together.
const STRANGERS: &str = "protocol";

#[test]
fn everything_in_src_stands_on_a_floor() {
    let mut names: Vec<String> = sources().into_keys().map(|file| room(&file).to_owned()).collect();
    names.dedup();
    let mut floors: Vec<&str> = FLOORS.iter().map(|(name, _)| *name).chain(["lib"]).collect();
    floors.sort_unstable();
    assert_eq!(names, floors, "FLOORS of tests/floors and src differ");
}

#[test]
fn imports_point_down() {
    let wrong: Vec<_> = sources().iter().flat_map(|(file, source)| pointing_up(file, source)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_import_that_points_up_is_found() {
    for (file, source) in [
        ("message.rs", "use crate::protocol::Protocol;"),
        ("message.rs", "use crate::{close::CloseCode, protocol::{inbound}};"),
        ("message.rs", "fn f() { vec![g(crate::protocol::LIMIT)]; }"),
        ("message.rs", "fn f() -> crate::protocol::Protocol { loop {} }"),
        ("message.rs", "use super::protocol::Protocol;"),
        ("message.rs", "mod tests { use super::super::protocol::Protocol; }"),
        ("message.rs", "use crate::Message;"),
        ("message.rs", "use crate::*;"),
        ("protocol/inbound/mod.rs", "use crate::protocol::outbound::Outbound;"),
        ("protocol/inbound/mod.rs", "use super::outbound::Outbound;"),
        ("protocol/pings.rs", "use super::Protocol;"),
        ("protocol/outbound/burst.rs", "use super::ledger::Ledger;"),
    ] {
        assert_eq!(pointing_up(file, source).len(), 1, "{file}: {source}");
    }
}

#[test]
fn what_points_down_or_is_no_import_passes() {
    for (file, source) in [
        ("message.rs", "use crate::close::CloseCode; mod tests { use super::*; }"),
        ("message.rs", "/// [`P`](crate::Protocol)\nconst S: &str = \"crate::Protocol\";"),
        ("message.rs", "pub(crate) fn f() {} pub(in crate::protocol) fn g() {}"),
        (
            "protocol/mod.rs",
            "use crate::protocol::inbound::Inbound; use self::outbound::*; use super::close::CloseCode;",
        ),
        ("protocol/outbound/mod.rs", "use self::ledger::Ledger;"),
        ("protocol/outbound/burst.rs", "use crate::wire::mask::Mask; mod tests { use super::*; }"),
        ("lib.rs", "pub use protocol::Pong;"),
    ] {
        assert_eq!(pointing_up(file, source), [""; 0], "{file}: {source}");
    }
}

/// Files of one room may know one another. An inherent `impl` may stand in the room that adds it: that room knows the other
/// then. Tests do not count.
#[test]
fn rooms_make_no_circle() {
    let circles = circles(&sources());
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn a_circle_of_rooms_is_found() {
    for (files, circle) in [
        (
            &[("stream.rs", "use crate::task::Task;"), ("task.rs", "use crate::stream::WebSocketStream;")][..],
            "src: a circle of rooms: stream -> task -> stream, by src/stream.rs: crate::task::Task, \
             by src/task.rs: crate::stream::WebSocketStream",
        ),
        (
            &[
                ("stream.rs", "fn f() -> crate::message_reader::MessageReader { loop {} }"),
                ("message_reader.rs", "use super::split::Receiver;"),
                ("split/mod.rs", "mod arrivals;"),
                ("split/arrivals.rs", "use super::super::stream::WebSocketStream;"),
            ],
            "src: a circle of rooms: message_reader -> split -> stream -> message_reader, \
             by src/message_reader.rs: crate::split::Receiver, by src/split/arrivals.rs: crate::stream::WebSocketStream, \
             by src/stream.rs: crate::message_reader::MessageReader",
        ),
        // Through a re-export of another room.
        (
            &[
                ("stream.rs", "pub(crate) use crate::split::Sender; use crate::client::Builder;"),
                ("client.rs", "pub use crate::task::{Task as Builder};"),
                ("split/mod.rs", "pub use self::sender::Sender;"),
                ("split/sender.rs", "pub struct Sender;"),
                ("task.rs", "use crate::stream::Sender;"),
                ("split/sink.rs", "fn f() { crate::client::Builder::new() }"),
            ],
            "src: a circle of rooms: split -> task -> split, by src/split/sink.rs: crate::client::Builder::new, \
             by src/task.rs: crate::stream::Sender",
        ),
        (
            &[("error.rs", "#[cfg(not(test))] use crate::close::Closed;"), ("close.rs", "use crate::error::Error;")],
            "src: a circle of rooms: close -> error -> close, by src/close.rs: crate::error::Error, \
             by src/error.rs: crate::close::Closed",
        ),
    ] {
        assert_eq!(circles(&files_of(files)), [circle]);
    }
}

#[test]
fn each_circle_is_told_once() {
    let files = [
        ("stream.rs", "use crate::{task::Task, split::Sender};"),
        ("task.rs", "use crate::stream::WebSocketStream; use crate::stream::NextOrRoom;"),
        ("split/mod.rs", "use crate::{task::Task, stream::WebSocketStream};"),
    ];
    let circles = circles(&files_of(&files));
    let names: Vec<_> = circles.iter().map(|circle| circle.split([':', ',']).nth(2).unwrap().trim()).collect();
    let expected = ["split -> stream -> split", "split -> task -> stream -> split", "stream -> task -> stream"];
    assert_eq!(names, expected);
}

#[test]
fn rooms_without_a_circle_pass() {
    for files in [
        // A straight line.
        &[
            ("stream.rs", "use crate::connection::Connection;"),
            ("connection/mod.rs", "use crate::protocol::Protocol;"),
            ("protocol/mod.rs", ""),
        ][..],
        // A diamond.
        &[
            ("split/mod.rs", "use crate::{task::Task, message_reader::MessageReader};"),
            ("task.rs", "use crate::stream::WebSocketStream;"),
            ("message_reader.rs", "use crate::stream::WebSocketStream; impl WebSocketStream { fn next_reader() {} }"),
            ("stream.rs", ""),
        ],
        // Within a room.
        &[
            ("split/mod.rs", "mod arrivals; use self::arrivals::ToInbox;"),
            ("split/arrivals.rs", "use super::Shared; use crate::split::sender::Sender;"),
            ("split/sender.rs", "use crate::split::arrivals::ToInbox;"),
        ],
        // Of a type that another room exports anew, and whoever does.
        &[
            ("stream.rs", "pub use crate::handshake::Negotiated; use crate::connection::Connection;"),
            ("connection/mod.rs", "use crate::stream::Negotiated;"),
            ("handshake/mod.rs", "pub struct Negotiated;"),
        ],
        // That tests close.
        &[
            ("error/mod.rs", "use crate::close::Closed; #[cfg(test)] mod tests;"),
            ("error/tests.rs", "use crate::message::Message;"),
            ("close.rs", "#[cfg(test)] mod tests { use crate::error::Error; }"),
            ("message.rs", "use crate::error::Error; #[cfg(all(test, wsflow_loom))] use crate::error::Violation;"),
        ],
        &[
            ("error/mod.rs", "use crate::close::Closed;"),
            ("close.rs", "struct A; impl A { #[cfg(test)] fn f() -> crate::error::Error {} }"),
        ],
    ] {
        assert_eq!(circles(&files_of(files)), [""; 0], "{files:?}");
    }
}

fn files_of(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(file, source)| ((*file).to_owned(), (*source).to_owned())).collect()
}

#[test]
fn the_drawing_names_what_src_has() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let drawing = page.split("```").nth(1).expect("the page begins with the drawing");
    let drawn: Vec<&str> = drawing.split_whitespace().filter(|word| word.ends_with(".rs")).collect();
    // A file is drawn by its name; a child in a folder of a folder by the folder's name and its own.
    for file in sources().keys().filter(|file| *file != "lib.rs") {
        let is_drawn = drawn.iter().any(|name| file == name || file.ends_with(&format!("/{name}")));
        assert!(is_drawn, "src/{file} is not in the drawing of docs/architecture.md");
    }
    for name in drawn {
        let is_there = sources().keys().any(|file| file == name || file.ends_with(&format!("/{name}")));
        assert!(is_there, "{name} is in the drawing of docs/architecture.md and not in src");
    }
}

/// The room of a file.
fn room(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(other, _)| *other == name).map(|(_, floor)| *floor)
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The source files of the crate: path below `src` and content.
fn sources() -> BTreeMap<String, String> {
    fn read(directory: &Path, prefix: &str, sources: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                read(&path, &format!("{name}/"), sources);
            } else if name.ends_with(".rs") {
                sources.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut sources = BTreeMap::new();
    read(&root().join("src"), "", &mut sources);
    sources
}

/// Each path of `file` that does not point down, as a line for people.
fn pointing_up(file: &str, source: &str) -> Vec<String> {
    // The root is above all, and may name anything.
    let Some(from) = floor(room(file)) else { return Vec::new() };
    let module = module(file);
    let paths = Paths::of(file, source, true);
    let points_up = |path: &Vec<String>| {
        let Some(to) = path.first().and_then(|name| floor(name)) else { return true };
        if path[0] == STRANGERS && room(file) == STRANGERS {
            // To itself and to its own children only.
            return !path.starts_with(&module);
        }
        to > from
    };
    let found = paths.found.into_iter().filter(points_up);
    found.map(|path| format!("src/{file}: crate::{} does not point down", path.join("::"))).collect()
}

/// The module that a file is.
fn module(file: &str) -> Vec<String> {
    file.trim_end_matches(".rs").split('/').filter(|name| *name != "mod").map(Into::into).collect()
}

/// Each circle of rooms, as a line for people: of each arrow that is part of one, the shortest.
fn circles(sources: &BTreeMap<String, String>) -> Vec<String> {
    let arrows = arrows(sources);
    let mut circles = BTreeSet::new();
    for (from, targets) in &arrows {
        for to in targets.keys() {
            let Some(mut circle) = way(&arrows, to, from) else { continue };
            // It begins where the alphabet does.
            let first = (0..circle.len()).min_by_key(|i| &circle[*i]).unwrap_or(0);
            circle.rotate_left(first);
            circles.insert(circle);
        }
    }
    let line = |circle: &Vec<String>| {
        let rooms: Vec<_> = circle.iter().chain(circle.first()).map(String::as_str).collect();
        let by: Vec<_> = rooms.windows(2).map(|arrow| format!(", by {}", arrows[arrow[0]][arrow[1]])).collect();
        format!("src: a circle of rooms: {}{}", rooms.join(" -> "), by.concat())
    };
    circles.iter().map(line).collect()
}

/// Which rooms each room knows, and by what: the first path that says so.
type Arrows = BTreeMap<String, BTreeMap<String, String>>;

fn arrows(sources: &BTreeMap<String, String>) -> Arrows {
    // The root is above all, and no room knows it.
    let rooms = || sources.iter().filter(|(file, _)| *file != "lib.rs");
    let paths: Vec<_> = rooms().map(|(file, source)| (file, Paths::of(file, source, false))).collect();
    let tests: Vec<_> = paths.iter().flat_map(|(_, paths)| &paths.tests).collect();
    let exports: BTreeMap<_, _> = paths.iter().flat_map(|(_, paths)| paths.exports.clone()).collect();
    let mut arrows = Arrows::new();
    for (file, paths) in &paths {
        if tests.iter().any(|test| module(file).starts_with(test)) {
            continue;
        }
        let from = room(file);
        for path in &paths.found {
            let Some(to) = defined_in(path, &exports).filter(|to| to != from) else { continue };
            let by = || format!("src/{file}: crate::{}", path.join("::"));
            arrows.entry(from.to_owned()).or_default().entry(to).or_insert_with(by);
        }
    }
    arrows
}

/// The room that defines what a path names: what a room exports of another is the other's.
fn defined_in(path: &[String], exports: &BTreeMap<Vec<String>, Vec<String>>) -> Option<String> {
    let mut path = path.to_vec();
    // Nobody exports in a circle: the compiler would not have it.
    for _ in 0..exports.len() {
        let Some((name, item)) = exports.iter().find(|(name, _)| path.starts_with(name)) else { break };
        path.splice(..name.len(), item.iter().cloned());
    }
    path.first().cloned()
}

/// The shortest way between two rooms, both included.
fn way(arrows: &Arrows, from: &str, to: &str) -> Option<Vec<String>> {
    let (mut ways, mut seen) = (VecDeque::from([vec![from.to_owned()]]), BTreeSet::from([from]));
    while let Some(way) = ways.pop_front() {
        let last = way.last()?;
        if last == to {
            return Some(way);
        }
        for next in arrows.get(last).into_iter().flat_map(BTreeMap::keys) {
            if seen.insert(next) {
                ways.push_back(way.iter().chain([next]).cloned().collect());
            }
        }
    }
    None
}

/// Whether an item is there in tests only.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    fn asks_for_test(meta: &syn::Meta) -> bool {
        match meta {
            syn::Meta::Path(path) => path.is_ident("test"),
            syn::Meta::List(list) if list.path.is_ident("all") => {
                let all = Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated.parse2(list.tokens.clone());
                all.is_ok_and(|all| all.iter().any(asks_for_test))
            }
            _ => false,
        }
    }
    let is_test = |attribute: &syn::Attribute| {
        let condition = || attribute.parse_args::<syn::Meta>().is_ok_and(|meta| asks_for_test(&meta));
        attribute.path().is_ident("test") || attribute.path().is_ident("cfg") && condition()
    };
    attributes.iter().any(is_test)
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(syn::ItemConst { attrs, .. })
        | syn::Item::Enum(syn::ItemEnum { attrs, .. })
        | syn::Item::Fn(syn::ItemFn { attrs, .. })
        | syn::Item::Impl(syn::ItemImpl { attrs, .. })
        | syn::Item::Macro(syn::ItemMacro { attrs, .. })
        | syn::Item::Mod(syn::ItemMod { attrs, .. })
        | syn::Item::Static(syn::ItemStatic { attrs, .. })
        | syn::Item::Struct(syn::ItemStruct { attrs, .. })
        | syn::Item::Trait(syn::ItemTrait { attrs, .. })
        | syn::Item::Type(syn::ItemType { attrs, .. })
        | syn::Item::Union(syn::ItemUnion { attrs, .. })
        | syn::Item::Use(syn::ItemUse { attrs, .. }) => attrs,
        _ => &[],
    }
}

/// Collects the paths into this crate, from its root on.
struct Paths {
    /// The module that is looked at.
    module: Vec<String>,
    /// Whether tests count.
    with_tests: bool,
    found: Vec<Vec<String>>,
    /// What a room exports of another: its name, and what that is.
    exports: Vec<(Vec<String>, Vec<String>)>,
    /// The modules that are tests, if these do not count.
    tests: Vec<Vec<String>>,
}

impl Paths {
    fn of(file: &str, source: &str, with_tests: bool) -> Self {
        let (found, exports, tests) = (Vec::new(), Vec::new(), Vec::new());
        let mut paths = Self { module: module(file), with_tests, found, exports, tests };
        paths.visit_file(&syn::parse_file(source).expect("it is Rust"));
        paths
    }

    fn counts(&self, attributes: &[syn::Attribute]) -> bool {
        self.with_tests || !is_test(attributes)
    }

    /// A path from the root on, if it is one into this crate.
    fn resolved(&self, words: &[String]) -> Option<Vec<String>> {
        let mut path = match words.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.module.clone(),
            _ => return None,
        };
        for word in words {
            match word.as_str() {
                "crate" | "self" => {}
                "super" => drop(path.pop()),
                name => path.push(name.to_owned()),
            }
        }
        Some(path)
    }

    fn add(&mut self, words: &[String]) {
        self.found.extend(self.resolved(words));
    }

    /// `item` of the module `words`, which is called `name` here.
    fn add_name(&mut self, words: &mut Vec<String>, item: &syn::Ident, name: &syn::Ident, is_exported: bool) {
        words.push(item.to_string());
        self.add(words);
        if let Some(path) = self.resolved(words).filter(|path| is_exported && path.first() != self.module.first()) {
            let here = self.module.iter().cloned().chain([name.to_string()]).collect();
            self.exports.push((here, path));
        }
        words.pop();
    }

    fn add_tree(&mut self, tree: &syn::UseTree, words: &mut Vec<String>, is_exported: bool) {
        match tree {
            syn::UseTree::Path(path) => {
                words.push(path.ident.to_string());
                self.add_tree(&path.tree, words, is_exported);
                words.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(tree, words, is_exported)),
            syn::UseTree::Name(syn::UseName { ident }) => self.add_name(words, ident, ident, is_exported),
            syn::UseTree::Rename(syn::UseRename { ident, rename, .. }) => {
                self.add_name(words, ident, rename, is_exported);
            }
            syn::UseTree::Glob(_) => self.add(words),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if self.counts(attributes(item)) {
            visit::visit_item(self, item);
        } else if let syn::Item::Mod(item) = item {
            self.tests.push(self.module.iter().cloned().chain([item.ident.to_string()]).collect());
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if self.counts(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&item.tree, &mut Vec::new(), !matches!(item.vis, syn::Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        // `self` alone is a value.
        if path.segments.len() > 1 {
            self.add(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        }
        visit::visit_path(self, path);
    }

    /// `pub(in path)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    /// What a macro is given need not be Rust: only paths from `crate` on are looked for.
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        for path in call.tokens.to_string().split("crate ::").skip(1) {
            let words =
                path.split("::").map(|word| word.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next());
            let words: Vec<String> = ["crate"].into_iter().chain(words.flatten().take(1)).map(Into::into).collect();
            self.add(&words);
        }
        visit::visit_macro(self, call);
    }
}
