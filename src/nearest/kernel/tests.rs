//! Each kernel against plain arithmetic.
