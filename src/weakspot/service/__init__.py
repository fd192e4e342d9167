"""`weakspot serve`: pictures come by HTTP, answers and judgements are kept. Nothing below imports it."""
