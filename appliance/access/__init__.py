"""Who may do what: Kubernetes' rules, over built-in roles and the Roles that people declare.

- `rules`: a caller, a question, and whether a rule allows it; pure
- `roles`: what viewer, operator, admin and a host may; pure
- `bindings`: what the Roles and RoleBindings of a namespace add; pure
- `evaluator`: the three together, over a store
- `accounts`: tokens of ServiceAccounts
- `users`: the register of tokens and certificates that were issued to people
"""
