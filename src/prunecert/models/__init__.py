"""Networks: a small zoo (`zoo`), loaders (`loading`, `weights`), what an architecture proves about
its hidden units (`layers`), and smaller networks that compute the same (`simplify`)."""
