"""`python -m appliance` is `skerry`."""

from appliance.cli import main

if __name__ == "__main__":
    main()
