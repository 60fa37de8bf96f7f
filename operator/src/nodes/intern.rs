//! Values that thousands of reports repeat, kept once.

use std::collections::HashMap;
use std::hash::Hash;

/// Gives each distinct value a small number for as long as somebody uses it.
#[derive(Debug)]
pub(super) struct Interner<T> {
    numbers: HashMap<T, u32>,
    slots: Vec<Option<(T, u32)>>,
    free: Vec<u32>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<T: Clone + Eq + Hash> Interner<T> {
    /// The number of `value`; to be given back by [`Self::release`].
    pub(super) fn take(&mut self, value: T) -> u32 {
        if let Some(number) = self.numbers.get(&value).copied() {
            if let Some(Some((_, users))) = self.slots.get_mut(number as usize) {
                *users += 1;
            }
            return number;
        }
        let slot = Some((value.clone(), 1));
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                // A number for each distinct value in memory: memory ends first.
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.numbers.insert(value, number);
        number
    }

    /// Gives a number back; with its last user the value goes.
    pub(super) fn release(&mut self, number: u32) {
        let Some(slot) = self.slots.get_mut(number as usize) else { return };
        let Some((_, users)) = slot else { return };
        *users -= 1;
        if *users == 0
            && let Some((value, _)) = slot.take()
        {
            self.numbers.remove(&value);
            self.free.push(number);
        }
    }

    /// The number `value` has now.
    pub(super) fn number(&self, value: &T) -> Option<u32> {
        self.numbers.get(value).copied()
    }

    /// The value behind a number in use.
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.slots.get(number as usize)?.as_ref().map(|(value, _)| value)
    }

    /// How many distinct values there are.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_goes_with_its_last_user_and_its_number_is_used_again() {
        let mut words = Interner::default();
        let (a, same, b) = (words.take("a"), words.take("a"), words.take("b"));
        assert_eq!((a, b, words.len()), (same, 1, 2));
        words.release(a);
        assert_eq!(words.get(a), Some(&"a"));
        words.release(a);
        assert_eq!((words.get(a), words.number(&"a")), (None, None));
        assert_eq!(words.take("c"), a);
    }
}
