"""Charts as pictures: drawn in a short-lived process of their own, so that the server never loads what draws them."""
