//! The imports of a source file of a crate, without comments, strings and tests.

/// An imported path as it is written, in segments, and its name in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub path: Vec<String>,
    pub name: String,
}

/// The imports of one file.
#[derive(Debug, Default)]
pub struct Source {
    /// The paths of its `use` declarations.
    pub imports: Vec<Import>,
    /// The paths in its code: `crate::a::b`, `child::c`.
    pub paths: Vec<Vec<String>>,
    /// Child modules that only tests have.
    pub test_modules: Vec<String>,
    /// Types that other files can see.
    pub types: Vec<String>,
}

impl Source {
    pub fn parse(text: &str) -> Self {
        let text = blank(text);
        let (tokens, test_modules) = without_tests(&tokens(&text));
        let (imports, code) = imports(&tokens);
        Self {
            imports,
            paths: paths(&code),
            types: types(&code),
            test_modules,
        }
    }
}

/// Returns the text with its comments and string literals blanked.
fn blank(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(first) = rest.chars().next() {
        let length = literal_length(rest).unwrap_or(0);
        if length > 0 {
            out.push(' ');
            rest = &rest[length..];
        } else {
            out.push(first);
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            let word = word.unwrap_or(rest.len()).max(first.len_utf8());
            out.push_str(&rest[first.len_utf8()..word]);
            rest = &rest[word..];
        }
    }
    out
}

/// Returns the length of the comment, string or character literal that begins the text.
fn literal_length(text: &str) -> Option<usize> {
    let to_end_of = |end: &str, from: usize| {
        let found = text[from..].find(end).map(|at| from + at + end.len());
        Some(found.unwrap_or(text.len()))
    };
    if text.starts_with("//") {
        return to_end_of("\n", 0);
    }
    if text.starts_with("/*") {
        return to_end_of("*/", 2);
    }
    let unprefixed = text.strip_prefix('b').unwrap_or(text);
    if let Some(raw) = unprefixed.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let start = text.len() - raw.len() + hashes + 1;
            return to_end_of(&format!("\"{}", "#".repeat(hashes)), start);
        }
    }
    let prefix = text.len() - unprefixed.len();
    let is_char = unprefixed.starts_with("'\\") || unprefixed.chars().nth(2) == Some('\'');
    match unprefixed.chars().next()? {
        '"' => Some(prefix + quoted_length(unprefixed)),
        '\'' if is_char => Some(prefix + quoted_length(unprefixed)),
        _ => None,
    }
}

/// Returns the length of a literal between two equal quotes, in which a backslash escapes.
fn quoted_length(text: &str) -> usize {
    let quote = text.chars().next();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if Some(c) == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// Splits a text into words, `::`, and all other characters one by one.
fn tokens(text: &str) -> Vec<&str> {
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
        let length = match word.unwrap_or(rest.len()) {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            length => length,
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Returns the tokens without the items under `#[cfg(test)]`, and the modules among these items.
fn without_tests<'a>(tokens: &[&'a str]) -> (Vec<&'a str>, Vec<String>) {
    const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut modules, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        if !tokens[at..].starts_with(&CFG_TEST) {
            kept.push(tokens[at]);
            at += 1;
            continue;
        }
        let item = &tokens[at + CFG_TEST.len()..];
        let length = item_length(item);
        let module = item[..length].iter().position(|token| *token == "mod");
        modules.extend(
            module
                .and_then(|m| item.get(m + 1))
                .map(ToString::to_string),
        );
        at += CFG_TEST.len() + length;
    }
    (kept, modules)
}

/// Returns the length of an item, up to its semicolon or the end of its body.
fn item_length(item: &[&str]) -> usize {
    let (mut depth, mut is_use) = (0, false);
    for (at, token) in item.iter().enumerate() {
        match *token {
            "use" if depth == 0 => is_use = true,
            "{" => depth += 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
        if *token == "}" && depth == 0 && !is_use {
            return at + 1;
        }
    }
    item.len()
}

/// Returns the imports of `use` declarations, and the tokens outside them.
fn imports<'a>(tokens: &[&'a str]) -> (Vec<Import>, Vec<&'a str>) {
    let (mut imports, mut code, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        if tokens[at] != "use" {
            code.push(tokens[at]);
            at += 1;
            continue;
        }
        let end = tokens[at..].iter().position(|token| *token == ";");
        let end = at + end.unwrap_or(tokens.len() - at);
        use_tree(&tokens[at + 1..end], &[], &mut imports);
        at = end;
    }
    (imports, code)
}

/// Adds all the paths of a tree such as `a::{b, c::{self, d as e}}`.
fn use_tree(tree: &[&str], prefix: &[String], found: &mut Vec<Import>) {
    let open = tree.iter().position(|token| *token == "{");
    let stem = &tree[..open.unwrap_or(tree.len())];
    let words = stem.iter().filter(|token| **token != "::");
    let mut words: Vec<String> = words.map(ToString::to_string).collect();
    if let Some(open) = open {
        let path = [prefix, &words].concat();
        for branch in branches(&tree[open + 1..tree.len() - 1]) {
            use_tree(branch, &path, found);
        }
        return;
    }
    let alias = match words.iter().position(|word| word == "as") {
        Some(at) => words.drain(at..).next_back(),
        None => None,
    };
    if words.len() == 1 && words[0] == "self" && !prefix.is_empty() {
        words.clear();
    }
    let path = [prefix, &words].concat();
    let name = alias.or_else(|| path.last().cloned());
    found.extend(name.map(|name| Import { path, name }));
}

/// Splits tokens at the commas outside inner braces.
fn branches<'a, 't>(tokens: &'t [&'a str]) -> Vec<&'t [&'a str]> {
    let mut depth = 0;
    let branches = tokens.split(|token| {
        match *token {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        depth == 0 && *token == ","
    });
    branches.filter(|branch| !branch.is_empty()).collect()
}

/// Returns the paths of two segments and more.
fn paths(tokens: &[&str]) -> Vec<Vec<String>> {
    let (mut paths, mut at) = (Vec::new(), 0);
    while at + 2 < tokens.len() {
        let mut path = vec![tokens[at].to_owned()];
        while tokens.get(at + 1) == Some(&"::") && is_word(tokens.get(at + 2)) {
            path.push(tokens[at + 2].to_owned());
            at += 2;
        }
        at += 1;
        if path.len() > 1 && is_word(path.first().map(String::as_str).as_ref()) {
            paths.push(path);
        }
    }
    paths
}

fn is_word(token: Option<&&str>) -> bool {
    token.is_some_and(|t| t.starts_with(|c: char| c.is_alphabetic() || c == '_'))
}

/// Returns the types that are declared with any kind of `pub`.
fn types(tokens: &[&str]) -> Vec<String> {
    const KINDS: [&str; 4] = ["struct", "enum", "trait", "type"];
    let mut types = Vec::new();
    for (at, _) in tokens.iter().enumerate().filter(|(_, t)| **t == "pub") {
        let after = &tokens[at + 1..];
        let after = match after.iter().position(|token| *token == ")") {
            Some(end) if after[0] == "(" => &after[end + 1..],
            _ => after,
        };
        if let [kind, name, ..] = after
            && KINDS.contains(kind)
        {
            types.push((*name).to_owned());
        }
    }
    types
}

#[test]
fn imports_and_paths_are_found_where_they_are_code() {
    let source = Source::parse(
        r##"
        //! use crate::comment;
        use crate::a::{self, b::{C, D as E}, f};
        pub(crate) use self::child::Thing;
        #[cfg(test)]
        use crate::only::tests;
        fn f<'a>(x: &'a str, quote: char) -> bool {
            let text = "use crate::text; \" more"; let raw = r#"crate::raw "here" too"#;
            crate::inline::call(x, '"') || child::other() /* crate::old */
        }
        pub(crate) struct Seen;
        struct Hidden;
        #[cfg(test)]
        mod fixture;
        #[cfg(test)]
        mod tests { use crate::tests::only; pub struct Tested; }
        "##,
    );
    let imports = source.imports.iter();
    let imports: Vec<_> = imports.map(|i| (i.path.join("::"), &*i.name)).collect();
    let expected = [
        ("crate::a", "a"),
        ("crate::a::b::C", "C"),
        ("crate::a::b::D", "E"),
        ("crate::a::f", "f"),
        ("self::child::Thing", "Thing"),
    ];
    assert_eq!(
        imports,
        expected.map(|(path, name)| (path.to_owned(), name))
    );
    let paths: Vec<_> = source.paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["crate::inline::call", "child::other"]);
    assert_eq!(source.test_modules, ["fixture", "tests"]);
    assert_eq!(source.types, ["Seen"]);
}
