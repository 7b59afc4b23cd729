//! The commands, one file each.

mod adapt;
mod align;
mod bench;
mod bench_step;
mod beside;
mod chat;
mod compare;
mod completions;
mod continual;
mod data;
mod data_scan;
mod demo;
mod doctor;
mod embed;
mod ensemble;
mod eval;
mod eval_lm;
mod generate;
mod glue;
mod index;
mod label;
mod learning_curve;
mod list;
mod merge;
mod model;
mod multi_task;
mod names;
mod plan;
mod predict;
mod pretrain;
mod search;
mod seeds;
mod soup;
mod study;
mod tokenize;
mod train;
mod transfer_matrix;
mod tune;
mod unfreeze_study;
mod vectors;

use std::io::Write;

use clap::Subcommand;

use crate::Ended;
use crate::global::Global;

/// Every command.
#[derive(Subcommand)]
pub enum Command {
    Demo(demo::Demo),
    Plan(plan::Plan),
    Train(Box<train::Train>),
    Pretrain(Box<pretrain::Pretrain>),
    Eval(eval::Eval),
    Ensemble(ensemble::Ensemble),
    EvalLm(eval_lm::EvalLm),
    Glue(Box<glue::Glue>),
    Compare(Box<compare::Compare>),
    UnfreezeStudy(Box<unfreeze_study::UnfreezeStudy>),
    Seeds(Box<seeds::Seeds>),
    Tune(Box<tune::Tune>),
    Adapt(Box<adapt::Adapt>),
    Align(align::Align),
    MultiTask(Box<multi_task::MultiTask>),
    Continual(Box<continual::Continual>),
    TransferMatrix(Box<transfer_matrix::TransferMatrix>),
    LearningCurve(Box<learning_curve::LearningCurve>),
    Label(Box<label::Label>),
    Predict(predict::Predict),
    Embed(embed::Embed),
    Index(index::Index),
    Search(search::Search),
    Generate(generate::Generate),
    Chat(chat::Chat),
    /// What is in a data file
    #[command(subcommand)]
    Data(data::Data),
    /// What a model is made of, and fetching it
    #[command(subcommand)]
    Model(model::Model),
    Tokenize(tokenize::Tokenize),
    /// Static word vectors, and words in context
    #[command(subcommand)]
    Vectors(vectors::Vectors),
    Bench(bench::Bench),
    List(list::List),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    BenchStep(bench_step::BenchStep),
}

/// Commands and subcommands that are shown, for the test that looks at each.
#[cfg(test)]
pub const COUNT: usize = 46;

impl Command {
    /// Runs the command; results go to `out`.
    pub fn run(self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        match self {
            Command::Demo(command) => command.run(global, out),
            Command::Plan(command) => command.run(global, out),
            Command::Train(command) => command.run(global, out),
            Command::Pretrain(command) => command.run(global, out),
            Command::Ensemble(command) => command.run(global, out),
            Command::Eval(command) => command.run(global, out),
            Command::EvalLm(command) => command.run(global, out),
            Command::Glue(command) => command.run(global, out),
            Command::Compare(command) => command.run(global, out),
            Command::UnfreezeStudy(command) => command.run(global, out),
            Command::Seeds(command) => command.run(global, out),
            Command::Tune(command) => command.run(global, out),
            Command::MultiTask(command) => command.run(global, out),
            Command::Adapt(command) => command.run(global, out),
            Command::Align(command) => command.run(global, out),
            Command::Continual(command) => command.run(global, out),
            Command::TransferMatrix(command) => command.run(global, out),
            Command::LearningCurve(command) => command.run(global, out),
            Command::Label(command) => command.run(global, out),
            Command::Predict(command) => command.run(global, out),
            Command::Embed(command) => command.run(global, out),
            Command::Index(command) => command.run(global, out),
            Command::Search(command) => command.run(global, out),
            Command::Generate(command) => command.run(global, out),
            Command::Chat(command) => command.run(global, out),
            Command::Data(command) => command.run(global, out),
            Command::Model(command) => command.run(global, out),
            Command::Tokenize(command) => command.run(global, out),
            Command::Vectors(command) => command.run(global, out),
            Command::Bench(command) => command.run(global, out),
            Command::List(command) => command.run(global, out),
            Command::Doctor(command) => command.run(global, out),
            Command::Completions(command) => command.run(out),
            Command::BenchStep(command) => command.run(out),
        }
    }
}
