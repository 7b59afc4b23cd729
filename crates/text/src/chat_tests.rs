//! Chat templates against transformers, on fixtures made by `fixtures/make/chat.py`.

use super::*;

const GOLDEN: &str = include_str!("../../../fixtures/chat/golden.json");

#[test]
fn a_mark_that_begins_and_ends_in_one_is_an_error_and_no_panic() {
    for template in ["{%}", "{{- bos_token {{- bos_token }}.{%}}", "{%%}", "{% generation", "{%-%}"] {
        let read = ChatTemplate::new("x.jinja", template);
        let error = read.and_then(|read| read.render(&[], true, None, None)).unwrap_err().to_string();
        assert!(error.contains("x.jinja"), "{template}: {error}");
    }
}

#[test]
fn templates_give_what_transformers_gives() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let now = golden["now"].as_u64().unwrap();
    let (mut refused, mut rendered) = (0, 0);
    for template in golden["templates"].as_array().unwrap() {
        let name = template["name"].as_str().unwrap();
        let chat = ChatTemplate::new(name, template["template"].as_str().unwrap()).unwrap();
        for case in template["cases"].as_array().unwrap() {
            let messages: Vec<Message> = golden["conversations"]
                [case["conversation"].as_u64().unwrap() as usize]
                .as_array()
                .unwrap()
                .iter()
                .map(|message| {
                    let [role, content] = ["role", "content"].map(|key| message[key].as_str().unwrap());
                    Message::new(role, content)
                })
                .collect();
            let prompt = case["prompt"].as_bool().unwrap();
            let got = chat.render_at(now, &messages, prompt, [Some("<s>"), Some("</s>")]);
            match (case["text"].as_str(), got) {
                (Some(text), Ok(got)) => {
                    assert_eq!(got, text, "{name}: {case}");
                    rendered += 1;
                }
                (None, Err(error)) => {
                    let expected = case["error"].as_str().unwrap();
                    assert!(error.to_string().contains(expected), "{name}: {error}, not {expected}");
                    refused += 1;
                }
                (_, got) => panic!("{name}: {case}, got {got:?}"),
            }
        }
    }
    assert_eq!((rendered, refused), (80, 4));
}

#[test]
fn a_folder_says_which_template() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let said = || {
        let chat = ChatTemplate::from_folder(folder.path())?;
        chat.map(|chat| chat.render(&[Message::new("user", "hi")], false, None, None)).transpose()
    };
    assert_eq!(said().unwrap(), None);
    write("tokenizer_config.json", r#"{"chat_template": "one {{ messages[0].content }}"}"#);
    assert_eq!(said().unwrap().unwrap(), "one hi");
    let several =
        r#"{"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "two"}]}"#;
    write("tokenizer_config.json", several);
    assert_eq!(said().unwrap().unwrap(), "two");
    write("tokenizer_config.json", r#"{"chat_template": [{"name": "rag", "template": "r"}]}"#);
    assert!(said().unwrap_err().to_string().contains("default"));
    write("chat_template.jinja", "three{{ bos_token }}\n");
    assert_eq!(said().unwrap().unwrap(), "three");
}

#[test]
fn a_template_that_is_broken_or_endless_is_an_error() {
    for (template, part) in [
        ("\n{% for %}", "line 2"),
        ("{{ messages", "line 1"),
        ("{{ messages[0].content.nothing() }}", "nothing"),
        ("{{ nothing() }}", "nothing"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "fuel"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
        ("{% include 'other' %}", "include"),
        (
            "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson }}",
            "fuel",
        ),
        ("{{ range(9999) | list | tojson(separators=['x' * 100000, ':']) }}", "fuel"),
        (
            "{% set n = namespace(x=1) %}{% for i in range(200) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x | tojson }}",
            "deep",
        ),
        ("{{ 'x' * 99000000 ~ 'x' * 99000000 }}", "fuel"),
    ] {
        let told = ChatTemplate::new("file", template)
            .and_then(|chat| chat.render(&[Message::new("user", "x")], false, None, None))
            .unwrap_err()
            .to_string();
        assert!(told.contains("file: chat template") && told.contains(part), "{template}: {told}");
    }
}
