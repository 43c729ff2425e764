"""Pure folds from events and items to what is shown. Both front ends use them."""
