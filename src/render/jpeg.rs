//! A JPEG decoder that decodes small: at an eighth, a quarter or half of the
//! size, reading only what that needs.
