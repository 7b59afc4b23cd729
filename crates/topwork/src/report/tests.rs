//! Claims about the page and the card as wholes.

use super::*;

const EVIL: &str =
    "</script><img src=x onerror=alert(1)>\" onload='x' http://evil.example/x.js &amp; ``` | [a](b)";

/// A report with everything in it, and a hostile text in every place a text can stand.
fn full(text: &str) -> Report {
    let s = || text.to_owned();
    let score = Score { value: 0.885, interval: Some((0.861, 0.908)) };
    let method = |main: bool| Method {
        name: s(),
        detail: s(),
        score,
        trained_parameters: Some(22_713_216),
        seconds: Some(70.0),
        memory: Some(1_200_000_000),
        baseline: !main,
        main,
    };
    Report {
        title: s(),
        subtitle: s(),
        headline: vec![Headline { name: s(), value: s(), detail: s() }],
        notes: vec![s()],
        strips: Some(Strips {
            marked: String::new(),
            title: s(),
            about: s(),
            metric: s(),
            rows: vec![Strip {
                name: s(),
                points: vec![
                    StripPoint { name: s(), value: 0.7, failed: true },
                    StripPoint { name: s(), value: 0.9, failed: false },
                ],
                median: Some(0.8),
            }],
            references: vec![(s(), 0.75)],
        }),
        heats: Some(Heats {
            title: s(),
            about: s(),
            along: s(),
            maps: vec![Heat {
                title: s(),
                about: s(),
                rows: vec![s(), s()],
                columns: vec![s()],
                values: vec![vec![Some(0.9)], vec![None]],
            }],
        }),
        tables: vec![Grid { title: s(), about: s(), head: vec![s()], rows: vec![vec![s()]], sum: false }],
        grid: Some(Grid {
            title: s(),
            about: s(),
            head: vec![s(), s()],
            rows: vec![vec![s(), "0.5".into()]],
            sum: true,
        }),
        methods: Some(Methods { metric: s(), texts: 746, rows: vec![method(false), method(true)] }),
        by_labels: Some(ByLabels {
            metric: s(),
            series: vec![LabelSeries { name: s(), points: vec![(16, score), (2982, score)] }],
            whiskers: s(),
        }),
        training: Some(Training {
            train_loss: (0..500).map(|step| (step, 1.0 / (step + 1) as f64)).collect(),
            dev_loss: vec![(100, 0.4), (200, 0.3)],
            metric: s(),
            dev_metric: vec![(100, 0.8), (200, 0.9)],
            best_step: Some(200),
            learning_rate: vec![(0, 0.0), (50, 2e-5), (500, 0.0)],
            steps_per_epoch: Some(100),
        }),
        confusion: Some(Confusion { labels: vec![s(), s()], counts: vec![vec![400, 16], vec![22, 308]] }),
        classes: vec![ClassScore { label: s(), precision: 0.9, recall: 0.8, f1: 0.847, support: 1416 }],
        slices: Some(Slices {
            metric: s(),
            whole: score,
            rows: vec![
                Slice { name: s(), texts: 20, score: Some(score), worse: true },
                Slice { name: s(), texts: 2, score: None, worse: false },
            ],
        }),
        layers: vec![(s(), 0.25), (s(), 0.75)],
        lengths: Some(Lengths {
            bins: vec![(0, 9, 100), (10, 19, 20), (20, 29, 1)],
            maximum: Some(16),
            texts_cut: 12,
            tokens_cut: 70,
            texts: 121,
        }),
        calibration: Some(Calibration { bins: vec![(0.6, 0.5, 10), (0.95, 0.97, 400)], error: 0.034 }),
        mistakes: Some(Mistakes {
            total: 38,
            texts: 746,
            worst: vec![Mistake {
                id: s(),
                text: s().repeat(20),
                gold: s(),
                predicted: s(),
                probability: Some(0.998),
                weights: vec![Weight { start: 0, end: 1, value: 0.4 }],
            }],
        }),
        data: Some(DataAccount {
            source: s(),
            licence: Some(s()),
            rows: 6046,
            skipped: vec![(s(), 29)],
            duplicates: 2290,
            near_duplicates: 12,
            splits: vec![(s(), vec![1600, 1300])],
            labels: vec![s(), s()],
            remarks: vec![s()],
        }),
        load: Some(LoadAccount { source: s(), loaded: 101, ignored: vec![(s(), s())], fresh: vec![s()] }),
        model: Some(ModelFacts {
            base: s(),
            licence: Some(s()),
            architecture: s(),
            task: s(),
            how_to_use: s(),
            in_python: s(),
            library: s(),
            limits: vec![s()],
        }),
        recipe: Some(s()),
        environment: vec![Fact { name: s(), value: s() }],
    }
}

/// The tags of a page, in order; panics where a `<` opens nothing, which unescaped text would do.
fn tags(page: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = page;
    while let Some(open) = rest.find('<') {
        let end = rest[open..].find('>').expect("every tag closes") + open;
        out.push(rest[open + 1..end].to_owned());
        rest = &rest[end + 1..];
    }
    out
}

/// Every element that opens closes, in order: what a strict reader asks.
fn assert_nested(page: &str) {
    const VOID: &[&str] = &["!doctype", "meta", "br", "img", "link"];
    let mut open: Vec<String> = Vec::new();
    let mut seen = 0;
    for tag in tags(page) {
        let name: String =
            tag.trim_start_matches('/').chars().take_while(|c| !c.is_whitespace() && *c != '/').collect();
        seen += 1;
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name.as_str()), "</{name}> closes something else");
        } else if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    assert!(seen > 15);
}

#[test]
fn hostile_texts_stay_texts_wherever_they_stand() {
    let page = html(&full(EVIL));
    assert_nested(&page);
    let harmless = html(&full("x"));
    let names = |page: &str| -> Vec<String> {
        tags(page).iter().map(|tag| tag.split_whitespace().next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(&page), names(&harmless), "a text has changed the structure of the page");
    for tag in tags(&page) {
        // What is left outside of quotes are names of attributes, all of them ours.
        let outside: String = tag.split('"').step_by(2).collect();
        assert!(["onerror", "onload", "alert", "evil"].iter().all(|part| !outside.contains(part)), "{tag}");
    }
    assert!(page.contains("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;"));
}

#[test]
fn the_page_loads_nothing() {
    let page = html(&full("x"));
    for part in [
        "http://", "https://", "//", "@import", "url(", "<script", "<link", "<img", "<iframe", " src=",
        " href=",
    ] {
        assert!(!page.contains(part), "{part}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn any_part_may_be_absent() {
    assert_nested(&html(&Report::default()));
    assert!(card(&Report::default()).contains("## Limits"));
    let all = serde_json::to_value(full("x")).unwrap();
    let names: Vec<String> = all.as_object().unwrap().keys().cloned().collect();
    for name in &names {
        // Without one part, and with this part alone.
        let mut without = all.clone();
        without.as_object_mut().unwrap().remove(name);
        let alone = serde_json::json!({ name.as_str(): all[name] });
        for value in [without, alone] {
            let report: Report = serde_json::from_value(value).unwrap();
            assert_nested(&html(&report));
            assert!(card(&report).starts_with("---\n"));
        }
    }
    assert_eq!(names.len(), 23);
}

#[test]
fn parts_that_hold_nothing_are_left_out() {
    let report = Report {
        strips: Some(Strips::default()),
        heats: Some(Heats::default()),
        tables: vec![Grid::default()],
        methods: Some(Methods::default()),
        by_labels: Some(ByLabels::default()),
        training: Some(Training::default()),
        confusion: Some(Confusion::default()),
        lengths: Some(Lengths::default()),
        calibration: Some(Calibration::default()),
        ..Report::default()
    };
    assert!(!html(&report).contains("<section>"));
}

#[test]
fn numbers_that_are_none_do_not_reach_the_page() {
    let mut report = full("x");
    let nan = Score { value: f64::NAN, interval: Some((f64::NAN, f64::INFINITY)) };
    for row in &mut report.methods.as_mut().unwrap().rows {
        row.score = nan;
        row.seconds = Some(f64::NAN);
    }
    report.by_labels.as_mut().unwrap().series[0].points.push((64, nan));
    report.heats.as_mut().unwrap().maps[0].values[1][0] = Some(f64::NAN);
    let strips = report.strips.as_mut().unwrap();
    strips.references.push(("x".into(), f64::NAN));
    strips.rows[0].points.push(StripPoint { name: "x".into(), value: f64::INFINITY, failed: false });
    strips.rows[0].median = Some(f64::NAN);
    report.calibration.as_mut().unwrap().bins.push((f64::NAN, 0.5, 3));
    let training = report.training.as_mut().unwrap();
    training.train_loss.push((501, f64::INFINITY));
    training.dev_loss.push((300, f64::NAN));
    let page = html(&report);
    assert_nested(&page);
    assert!(!page.contains("NaN") && !page.contains("inf\"") && !page.contains("inf,"));
    assert!(page.contains("n/a"));
    assert!(page.contains("2 values are not finite numbers"));
}

#[test]
fn numbers_are_formatted() {
    let page = html(&full("x"));
    for part in ["0.885", "0.861 to 0.908", "22.7 M", "70 s", "1.20 GB", "6,046", "2,290", "99.8%", "9.9%"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn the_verdict_says_which_way_and_whether_the_intervals_overlap() {
    let row = |value: f64, baseline: bool| Method {
        name: if baseline { "TF-IDF".into() } else { "fine-tuned".into() },
        score: Score { value, interval: Some((value - 0.02, value + 0.02)) },
        baseline,
        main: !baseline,
        ..Method::default()
    };
    let said = |main: f64, base: f64| {
        let methods =
            Methods { metric: "F1".into(), texts: 746, rows: vec![row(base, true), row(main, false)] };
        tables::verdict(&methods).unwrap()
    };
    assert_eq!(
        said(0.885, 0.82),
        "Fine-tuned is 0.065 above TF-IDF in F1 on 746 test texts; their 95% intervals do not overlap."
    );
    assert!(
        said(0.81, 0.82).contains("0.010 below TF-IDF") && said(0.81, 0.82).ends_with("intervals overlap.")
    );
}

#[test]
fn many_classes_become_a_list_of_confusions() {
    let labels: Vec<String> = (0..30).map(|i| format!("class {i}")).collect();
    let counts = (0..30)
        .map(|i| (0..30).map(|j| if i == j { 50 } else { u64::from(i == 3 && j == 7) * 9 }).collect())
        .collect();
    let page = html(&Report { confusion: Some(Confusion { labels, counts }), ..Report::default() });
    assert!(
        page.contains("the 1 commonest of 1 confusions") && page.contains("<td>class 3</td><td>class 7</td>")
    );
}

#[test]
fn the_card_is_markdown_that_texts_cannot_break() {
    let text = card(&full(EVIL));
    assert!(!text.contains("<img") || text.contains("\\<img"));
    let table: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    assert!(table[..4].iter().all(|line| cells(line) == 5), "{table:?}");
    assert!(text.contains("````sh"), "a fence longer than the one inside");
    let plain = card(&full("x"));
    for part in
        ["license: x", "**x** (this model)", "0.885 (0.861 to 0.908)", "## Limits", "first 16 tokens; 9.9%"]
    {
        assert!(plain.contains(part), "{part}\n{plain}");
    }
}

#[test]
fn words_that_weigh_are_marked_and_odd_places_are_not() {
    let weight = |start, end, value| Weight { start, end, value };
    let mistake = Mistake {
        text: "a <b> not ü bad".into(),
        gold: "x".into(),
        predicted: "y".into(),
        weights: vec![
            weight(2, 5, 0.5),
            weight(6, 9, -0.25),
            weight(11, 12, 0.3),
            weight(8, 9, 0.9),
            weight(14, 99, 0.9),
        ],
        ..Mistake::default()
    };
    let mistakes = Mistakes { total: 1, texts: 2, worst: vec![mistake.clone()] };
    let page = html(&Report { mistakes: Some(mistakes), ..Report::default() });
    for part in [
        "a <mark style=\"--w:0.56\" title=\"without it the probability is -50 points\">&lt;b&gt;</mark> <mark class=\"against\"",
        "+25 points\">not</mark> ü bad</p>",
        "speak for</mark> the wrong answer",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    assert!(!page.contains("<b>"));
    let plain = Mistakes { total: 1, texts: 2, worst: vec![Mistake { weights: Vec::new(), ..mistake }] };
    assert!(!html(&Report { mistakes: Some(plain), ..Report::default() }).contains("<mark"));
}
