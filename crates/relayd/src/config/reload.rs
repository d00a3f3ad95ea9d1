//! The keys that a reload cannot change.

use super::Config;

impl Config {
    /// Copies the values that cannot change while the relay runs into `new`. Returns the keys that
    /// differed.
    pub(crate) fn keep_fixed(&self, new: &mut Config) -> Vec<&'static str> {
        let mut kept = Vec::new();
        let mut keep = |key, has_changed| {
            if has_changed {
                kept.push(key);
            }
        };
        keep("state_dir", self.state_dir != new.state_dir);
        keep("[[listener]]", self.listeners != new.listeners);
        keep("queue.min_free", self.min_free != new.min_free);
        keep("control.socket", self.control != new.control);
        keep("log.format", self.log_format != new.log_format);
        new.state_dir.clone_from(&self.state_dir);
        new.listeners.clone_from(&self.listeners);
        new.min_free = self.min_free;
        new.control.clone_from(&self.control);
        new.log_format = self.log_format;
        kept
    }
}
