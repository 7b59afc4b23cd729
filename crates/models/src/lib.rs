//! Model families and heads.
