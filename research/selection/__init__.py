"""How much better chosen seeds are: against random ones, the best in hindsight, and a choice by the whole record."""
