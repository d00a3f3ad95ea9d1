//! The whole of `send` under a manual clock: a week passes in milliseconds, and outcomes and
//! timeline are asserted.

mod answers;
mod bounces;
mod destinations;
mod dsn_options;
mod faults;
mod internet;
mod operator;
mod retries;
mod returns;
mod verbs;
mod watched;
mod world;
