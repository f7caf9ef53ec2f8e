//! Tests of the selector language: Calico's own vectors, rejections, and properties.

use super::*;
use proptest::prelude::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn canonical_text_and_id_are_calicos() {
    for (text, canonical, id) in [
        ("", "all()", "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug"),
        (" \t", "all()", "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug"),
        (
            "! (has( b)||! has(a ))",
            "!(has(b) || !has(a))",
            "s:Iss0uCleLYv1GSv_pNm7hAO58kE9jAx1NKyG3Q",
        ),
        (
            "! (a == \"b\"&&! c != \"d\")",
            "!(a == \"b\" && !c != \"d\")",
            "s:lh3haoY1ikTRkd4UZu0nWSaIBknYLPJLX16d-w",
        ),
    ] {
        let selector = Selector::parse(text).unwrap();
        assert_eq!(selector.to_string(), canonical);
        assert_eq!(selector.unique_id(), id);
    }
}

#[test]
fn canonical_text_of_every_form() {
    for (text, canonical) in [
        ("all()", "all()"),
        ("global( )", "global()"),
        ("a in {\"z\", \"z\", \"x\"}", "a in {\"x\", \"z\"}"),
        ("a in {}", "a in {}"),
        ("a notin {'x',}", "a not in {\"x\"}"),
        ("a not\tin{\"x\"}", "a not in {\"x\"}"),
        ("a startswith '\"'", "a starts with '\"'"),
        ("a starts  with 'b'", "a starts with \"b\""),
        ("a endswith 'b'", "a ends with \"b\""),
        ("a contains'b'", "a contains \"b\""),
        ("a=='b'", "a == \"b\""),
        ("all == 'b'", "all == \"b\""),
        ("in in {'in'}", "in in {\"in\"}"),
        ("has(has)", "has(has)"),
        ("projectcalico.org/ns != ''", "projectcalico.org/ns != \"\""),
        ("!!has(a)", "has(a)"),
        ("!! ! has(a)", "!has(a)"),
        ("!(!has(a))", "!!has(a)"),
        ("((has(a)))", "has(a)"),
        ("has(a)||has(b)&&has(c)", "(has(a) || (has(b) && has(c)))"),
        ("(has(a)&&has(b))&&has(c)", "((has(a) && has(b)) && has(c))"),
    ] {
        assert_eq!(Selector::parse(text).unwrap().to_string(), canonical, "{text}");
    }
}

#[test]
fn rejections_say_where_and_what() {
    for (text, position, found) in [
        ("b == b", 5, "`b`"),
        ("b", 1, "the end"),
        ("'b1' == b", 0, "`'b1' == b`"),
        ("a b", 2, "`b`"),
        ("!", 1, "the end"),
        ("foo in \"\"", 7, "`\"\"`"),
        ("a == \"b", 5, "`\"b`"),
        ("(has(a)", 7, "the end"),
        ("()", 1, "`)`"),
        ("%", 0, "`%`"),
        ("has(foo) &&", 11, "the end"),
        ("has(foo) has(b)", 9, "`has(b)`"),
        ("has (foo)", 4, "`(foo)`"),
        ("has()", 4, "`)`"),
        ("all(a)", 4, "`a)`"),
        ("a = 'b'", 2, "`= 'b'`"),
        ("a & b", 2, "`& b`"),
        ("has(a) | has(b)", 7, "`| has(b)`"),
        ("a in {'b' 'c'}", 10, "`'c'}`"),
        ("a in {,}", 6, "`,}`"),
        ("a containsb 'c'", 2, "`containsb 'c'`"),
        ("a not 'b'", 2, "`not 'b'`"),
        ("has(a)\n&& has(b)", 6, "`\n&& has(b)`"),
        ("é == 'a'", 0, "`é == 'a'`"),
    ] {
        let error = Selector::parse(text).expect_err(text);
        assert_eq!((error.position, error.found.as_str()), (position, found), "{text}: {error}");
    }
    let error = Selector::parse("a b").unwrap_err().to_string();
    assert!(error.starts_with("selector is wrong at byte 2: expected an operator"), "{error}");
}

#[test]
fn evaluation_with_and_without_the_label() {
    let labelled = labels(&[("a", "abc"), ("e", "")]);
    for (text, expected) in [
        ("all()", true),
        ("global()", true),
        ("has(a)", true),
        ("has(b)", false),
        ("has(e)", true),
        ("a == 'abc'", true),
        ("a == 'ab'", false),
        ("b == ''", false),
        ("a != 'abc'", false),
        ("b != 'abc'", true),
        ("a contains 'b'", true),
        ("b contains ''", false),
        ("a starts with 'ab'", true),
        ("a ends with 'bc'", true),
        ("b ends with ''", false),
        ("a in {'x', 'abc'}", true),
        ("b in {'x'}", false),
        ("a in {}", false),
        ("a not in {'abc'}", false),
        ("b not in {'abc'}", true),
        ("a not in {}", true),
        ("has(b) || has(a) && has(e)", true),
        ("(has(a) || has(b)) && has(b)", false),
        ("!(has(a) && has(b))", true),
    ] {
        assert_eq!(Selector::parse(text).unwrap().matches(&labelled), expected, "{text}");
    }
}

#[test]
fn nesting_and_length_are_bounded() {
    let nested = |depth: usize| format!("{}has(a){}", "(".repeat(depth), ")".repeat(depth));
    assert!(Selector::parse(&nested(MAX_DEPTH)).is_ok());
    assert!(Selector::parse(&nested(MAX_DEPTH + 1)).is_err());
    assert!(Selector::parse(&"(".repeat(MAX_LENGTH)).is_err());
    assert!(Selector::parse(&format!("{}has(a)", "!".repeat(MAX_LENGTH - 6))).is_ok());
    assert!(Selector::parse(&"!".repeat(MAX_LENGTH + 1)).is_err());
    // Each parenthesis here holds an || over an &&, which the canonical text nests twice.
    let alternating = (0..MAX_DEPTH)
        .fold("has(a)".to_owned(), |inner, _| format!("has(x) || has(y) && ({inner})"));
    assert!(Selector::parse(&alternating).is_err());
    assert!(Selector::parse(&format!("{} == ''", "a".repeat(512))).is_ok());
    assert!(Selector::parse(&format!("{} == ''", "a".repeat(513))).is_err());
}

#[test]
fn restrictions_are_what_must_hold_of_a_label() {
    for (text, expected) in [
        ("all()", ""),
        ("global()", ""),
        ("has(a)", "a"),
        ("a == 'x'", "a:x"),
        ("a != 'x'", ""),
        ("!(a != 'x')", "a:x"),
        ("!a == 'x'", ""),
        ("a contains 'x'", "a"),
        ("!a starts with 'x'", ""),
        ("a in {'y', 'x'}", "a:x|y"),
        ("a in {}", "a:"),
        ("a not in {'x'}", ""),
        ("!(a not in {'x'})", "a:x"),
        ("!has(a)", ""),
        ("b == 'x' && has(a)", "a b:x"),
        ("has(a) && a in {'x', 'y'} && a in {'y', 'z'}", "a:y"),
        ("a == 'x' && a == 'y'", "a:"),
        ("a == 'x' || a == 'y'", "a:x|y"),
        ("a == 'x' || has(a)", "a"),
        ("a == 'x' || has(b)", ""),
        ("(has(a) && has(b)) || (has(b) && has(c))", "b"),
        ("!(!has(a) || b != 'x')", "a b:x"),
        ("!(!has(a) && b != 'x')", ""),
        ("has(a) || all()", ""),
    ] {
        let selector = Selector::parse(text).unwrap();
        let found = selector.restrictions().into_iter().map(|one| match one.values {
            Some(values) => format!("{}:{}", one.label, values.join("|")),
            None => one.label.to_owned(),
        });
        assert_eq!(found.collect::<Vec<_>>().join(" "), expected, "{text}");
    }
}

#[test]
fn global_is_found_wherever_it_stands() {
    for (text, expected) in [("has(a) || !(all() && global())", true), ("has(global)", false)] {
        assert_eq!(Selector::parse(text).unwrap().uses_global(), expected, "{text}");
    }
}

fn text() -> impl Strategy<Value = String> {
    // One kind of quote at most, as the language has no escapes.
    prop_oneof!["[a-c]{0,3}", "[a-c\" ]{0,3}", "[a-c' ]{0,3}"]
}

fn expression() -> impl Strategy<Value = Expression> {
    let label = "[a-c]|in|not|has|all|projectcalico\\.org/x";
    let test = prop_oneof![
        Just(TextTest::Equal),
        Just(TextTest::NotEqual),
        Just(TextTest::Contains),
        Just(TextTest::StartsWith),
        Just(TextTest::EndsWith)
    ];
    let leaf = prop_oneof![
        Just(Expression::All),
        Just(Expression::Global),
        label.prop_map(Expression::Has),
        (label, test, text()).prop_map(|(label, test, text)| Expression::Text {
            label,
            test,
            text
        }),
        (label, any::<bool>(), prop::collection::btree_set(text(), 0..4))
            .prop_map(|(label, negated, set)| Expression::Member { label, negated, set }),
    ];
    leaf.prop_recursive(6, 40, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(negate),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expression::And),
            prop::collection::vec(inner, 2..4).prop_map(Expression::Or),
        ]
    })
}

// A `!` before a `!` collapses when its text is read, so such an expression has no text of its own.
fn negate(inner: Expression) -> Expression {
    match inner {
        Expression::Not(inner) => *inner,
        inner => Expression::Not(Box::new(inner)),
    }
}

fn some_labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-c]", "[a-c]{0,3}", 0..4)
}

proptest! {
    #[test]
    fn text_reads_back(root in expression()) {
        let selector = Selector { root };
        prop_assert_eq!(&Selector::parse(&selector.to_string()).unwrap(), &selector);
        let json = serde_json::to_string(&selector).unwrap();
        prop_assert_eq!(serde_json::from_str::<Selector>(&json).unwrap(), selector);
    }

    // What is selected meets every restriction.
    #[test]
    fn restrictions_are_necessary(root in expression(), on in some_labels()) {
        let selector = Selector { root };
        prop_assert_eq!(selector.canonical(), selector.to_string());
        let met = |one: &Restriction<'_>| match (on.get(one.label), &one.values) {
            (Some(value), Some(values)) => values.contains(&value.as_str()),
            (value, _) => value.is_some(),
        };
        let restrictions = selector.restrictions();
        prop_assert!(restrictions.is_sorted_by(|one, next| one.label < next.label));
        prop_assert!(!selector.matches(&on) || restrictions.iter().all(met));
    }

    #[test]
    fn logic_holds(one in expression(), other in expression(), on in some_labels()) {
        let value = |root: &Expression| root.matches(&on);
        let (a, b) = (value(&one), value(&other));
        prop_assert_eq!(value(&Expression::Not(Box::new(one.clone()))), !a);
        prop_assert_eq!(value(&Expression::And(vec![one.clone(), other.clone()])), a && b);
        prop_assert_eq!(value(&Expression::Or(vec![one, other])), a || b);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        read_or_refused(&text)?;
    }

    #[test]
    fn any_tokens_are_read_or_refused(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "(", ")", "{", "}", ",", "==", "!=", "!", "&&", "||", "has(", "all()", "global()",
                "a", "b", "in", "not in", "starts with", "contains", "'x'", "\"y\"", "'", " ",
            ]),
            0..14,
        )
    ) {
        read_or_refused(&tokens.join(" "))?;
        read_or_refused(&tokens.concat())?;
    }
}

fn read_or_refused(text: &str) -> Result<(), TestCaseError> {
    match Selector::parse(text) {
        Ok(selector) => {
            let again = Selector::parse(&selector.to_string());
            prop_assert!(again.is_ok(), "{} -> {}", text, selector);
        }
        Err(error) => prop_assert!(text.is_char_boundary(error.position)),
    }
    Ok(())
}
