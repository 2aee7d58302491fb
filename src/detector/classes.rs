//! Classes of a model as a configuration names them, by number or by name.

use crate::config::ConfigError;
use crate::score::Class;

/// The classes that a model's logits are of.
#[derive(Debug, Clone, Default)]
pub(super) struct ClassNames {
    /// How many; `None` for a model without logits.
    pub classes: Option<usize>,
    /// Their names, if the file tells them.
    pub names: Vec<String>,
}

impl ClassNames {
    /// The numbers of `wanted`, the value of `key`.
    ///
    /// # Errors
    /// Classes that the model does not give or name.
    pub fn numbers(&self, key: &str, wanted: &[Class]) -> Result<Vec<usize>, ConfigError> {
        let invalid = |why: String| ConfigError::Invalid(format!("{key}: {why}"));
        let classes = self.classes.ok_or_else(|| {
            invalid("this model gives no logits to see classes by; name them in model.logits".to_owned())
        })?;
        let names = &self.names;
        let number = |class: &Class| match class {
            Class::Number(number) if *number < classes => Ok(*number),
            Class::Number(number) => Err(invalid(format!(
                "there is no class {number}, the model has 0 to {}",
                classes.saturating_sub(1)
            ))),
            Class::Name(name) if names.is_empty() => {
                Err(invalid(format!("the model file names no classes; give {name:?} as a number from 0")))
            }
            Class::Name(name) => names.iter().position(|known| known == name).ok_or_else(|| {
                invalid(format!("there is no class {name:?}; known are {}", names.join(", ")))
            }),
        };
        wanted.iter().map(number).collect()
    }

    /// Those with these numbers, for people.
    pub fn told(&self, numbers: &[usize]) -> String {
        let one = |number: &usize| self.names.get(*number).cloned().unwrap_or_else(|| number.to_string());
        numbers.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}
