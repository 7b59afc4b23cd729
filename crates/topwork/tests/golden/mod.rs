//! What the golden files of heads hold, and models over `fixtures/heads/encoder` held against them.

use std::path::Path;

use burn::tensor::Device;
use topwork_kernels::loss::IGNORE;
use topwork_models::{HeadSpec, Model};
use topwork_nn::Gradients;
use topwork_testkit::{Golden, close, close_with_floor};
use topwork_text::Packed;
use topwork_train::TrainOptions;
use topwork_train::optim::AdamW;
use topwork_train::plan::Plan;

use crate::gradients::{dense, floor};

/// As in the other tests of parity: relative to the scale of the tensor compared.
pub const FORWARD: f64 = 1e-5;
/// For gradients and for weights after steps.
pub const BACKWARD: f64 = 1e-4;

/// Whole numbers; those below 0 are asked for nothing.
pub fn numbers(golden: &Golden, name: &str) -> Vec<u32> {
    let number = |&n: &i64| if n < 0 { IGNORE } else { n as u32 };
    golden.integers(name).unwrap().data.iter().map(number).collect()
}

/// Numbers.
pub fn floats(golden: &Golden, name: &str) -> Vec<f32> {
    golden.floats(name).unwrap().data
}

/// The texts; some families have no types.
pub fn packed(golden: &Golden) -> Packed {
    let ids = numbers(golden, "packed.ids");
    let typed = golden.has("packed.type_ids");
    Packed {
        type_ids: if typed { numbers(golden, "packed.type_ids") } else { vec![0; ids.len()] },
        ids,
        offsets: numbers(golden, "packed.offsets"),
        ..Packed::default()
    }
}

/// The model, with the head's values that the file has.
pub fn open(spec: &HeadSpec, golden: &Golden) -> Model {
    open_with(spec, golden, |_| {})
}

/// The same with what something attaches to it.
pub fn open_with(spec: &HeadSpec, golden: &Golden, attach: impl FnOnce(&mut Model)) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/heads/encoder");
    let (mut model, _) = Model::open(&folder, spec, 1, &Device::flex()).unwrap();
    attach(&mut model);
    for path in golden.below("param.").map(str::to_string).collect::<Vec<_>>() {
        let id = model.store.id(&path).unwrap();
        model.store.set(id, floats(golden, &format!("param.{path}"))).unwrap();
    }
    model
}

/// The name of a parameter in the file.
pub fn upstream(model: &Model, path: &str) -> String {
    match path.starts_with("head.") || path.starts_with("domain.") {
        true => path.to_string(),
        false => model.family.weights.export_with(path, "").unwrap().0,
    }
}

/// Compares the gradient of every parameter, and gives how many there are.
pub fn every_gradient(case: &str, golden: &Golden, model: &Model, found: &Gradients) -> usize {
    // A key's bias has a gradient of zero, of which rounding leaves something.
    let floor = floor(golden);
    let mut own = 0;
    for (id, param) in model.store.iter() {
        let name = format!("grad.{}", upstream(model, &param.path));
        let gradient = found.get(id).map(|gradient| dense(gradient, &param.shape));
        assert_eq!(gradient.is_some(), golden.has(&name), "{case} {name}");
        let unread = (model.parts_read()..model.depth()).contains(&param.group);
        assert_eq!(gradient.is_none(), unread, "{case} {name}: in a part that is not read");
        let Some(gradient) = gradient else { continue };
        close_with_floor(&gradient, &floats(golden, &name), BACKWARD, floor)
            .unwrap_or_else(|e| panic!("{case} {name}: {e}"));
        own += 1;
    }
    assert_eq!(own, golden.below("grad.").count(), "{case}: every gradient was compared");
    own
}

/// Ten steps of AdamW: the loss before each, and the weights after the last.
pub fn ten_steps(
    case: &str,
    golden: &Golden,
    mut model: Model,
    gradients: impl Fn(&Model) -> (f32, Gradients),
) {
    let number = |name: &str| golden.scalar(&format!("adamw.{name}")).unwrap();
    let options = TrainOptions {
        weight_decay: number("weight_decay"),
        decay_all: true,
        eps: number("eps"),
        ..TrainOptions::default()
    };
    let mut optimizer = AdamW::new(&options, model.store.len());
    let plan = vec![Plan::default(); model.store.len()];
    let mut losses = Vec::new();
    for _ in 0..number("steps") as usize {
        let (loss, mut gradients) = gradients(&model);
        losses.push(loss);
        optimizer.step(&mut model.store, &mut gradients, &plan, number("lr"), 1.0).unwrap();
    }
    assert_eq!(losses.len(), 10, "{case}");
    close(&losses, &floats(golden, "losses"), FORWARD * 10.0).unwrap_or_else(|e| panic!("{case}: {e}"));
    let mut seen = 0;
    for (id, param) in model.store.iter() {
        let name = format!("after.{}", upstream(&model, &param.path));
        if golden.has(&name) {
            close(&model.store.values(id).unwrap(), &floats(golden, &name), BACKWARD)
                .unwrap_or_else(|e| panic!("{case} {name}: {e}"));
            seen += 1;
        }
    }
    assert_eq!(seen, golden.below("after.").count(), "{case}: every weight was compared");
}
