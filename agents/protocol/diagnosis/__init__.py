"""What the hub asks about one order at a site, and what the agent answers.

Not retained, and no state: a question has one answer or none, and a late one is dropped.
Start with `question.py`: how a question names its site, agent and order.
"""
