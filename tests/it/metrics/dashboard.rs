//! The dashboard and the rules in `docs/` ask for what there is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::text;
use crate::support::gateway::TestGateway;

/// What one metric is: its kind, and the labels that it has.
type Exported = BTreeMap<String, (String, BTreeSet<String>)>;

fn exported(text: &str) -> Exported {
    let mut exported = Exported::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            exported.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        }
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, labels)) = line.split_once('{') else {
            continue;
        };
        let known = exported.get_mut(base(name, |name| text.contains(&format!("# TYPE {name} histogram"))));
        let labels = labels.split('}').next().unwrap().split(',');
        let names = labels.map(|label| label.split('=').next().unwrap().to_owned());
        known.unwrap().1.extend(names);
    }
    exported
}

/// A series of a histogram bears its name with one of these behind it.
fn base(series: &str, is_histogram: impl Fn(&str) -> bool) -> &str {
    let stems = ["_bucket", "_sum", "_count"].map(|end| series.strip_suffix(end));
    stems
        .into_iter()
        .flatten()
        .find(|stem| is_histogram(stem))
        .unwrap_or(series)
}

/// The words of a query that are names.
fn words(query: &str) -> impl Iterator<Item = &str> {
    let is_in_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    query.split(move |letter| !is_in_name(letter))
}

/// The metrics of a query; it fails on one that is not exported, or is asked for what it has not.
fn asked(query: &str, exported: &Exported) -> BTreeSet<String> {
    let is_ours = |word: &&str| word.starts_with("consumable_") || word.starts_with("entitlement_");
    let mut asked = BTreeSet::new();
    let mut labels = BTreeSet::from(["instance".to_owned()]);
    for word in words(query).filter(is_ours) {
        let name = base(word, |name| {
            exported.get(name).is_some_and(|(kind, _)| kind == "histogram")
        });
        let (kind, has) = exported
            .get(name)
            .unwrap_or_else(|| panic!("no metric is called {word}: {query}"));
        assert!(
            kind != "histogram" || word != name,
            "{word} has no value of its own: {query}"
        );
        // A counter says something only by how fast it grows.
        let grows = ["rate(", "increase("]
            .iter()
            .any(|function| query.contains(&format!("{function}{word}")));
        assert_eq!(kind != "gauge", grows, "{query}");
        labels.extend(has.iter().cloned());
        asked.insert(name.to_owned());
    }
    assert!(!asked.is_empty(), "{query}");
    let by = query.split("by (").skip(1).map(|rest| rest.split(')').next().unwrap());
    let matched = query.split('{').skip(1).map(|rest| rest.split('=').next().unwrap());
    for label in by.flat_map(|labels| labels.split(", ")).chain(matched) {
        assert!(labels.contains(label), "there is no label {label}: {query}");
    }
    asked
}

#[tokio::test]
async fn every_query_is_of_metrics_that_are_exported_and_every_metric_is_shown() {
    let gateway = TestGateway::start().await;
    let exported = exported(&text(&gateway).await);
    let dashboard: Value = serde_json::from_str(include_str!("../../../docs/dashboard.json")).unwrap();
    let mut shown = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(panel["title"].is_string() && panel["type"].is_string() && panel["gridPos"]["w"].is_u64());
        for target in panel["targets"].as_array().unwrap() {
            shown.extend(asked(target["expr"].as_str().unwrap(), &exported));
        }
    }
    assert_eq!(shown, exported.keys().cloned().collect());

    let rules = include_str!("../../../docs/alerts.yml");
    let queries: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "))
        .collect();
    assert_eq!(queries.len(), rules.matches("- alert: ").count());
    for query in queries {
        asked(query, &exported);
    }
    // A code in a rule is one that is counted.
    for code in rules
        .split("code=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
    {
        assert!(text(&gateway).await.contains(&format!("code=\"{code}\"")), "{code}");
    }
}
